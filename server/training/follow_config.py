"""Settings of continuous learning (`upcycle train --follow`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.training.admission import AdmissionConfig
from server.training.gate import GateConfig
from shared_models.records import check

# They change when something happens or where it is put, never a weight: no part of a run's identity.
WITHOUT_EFFECT: Final = ("poll_s", "publish", "failed_rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowConfig:
    """Continuous learning in rounds; without effect on a run that does not follow.

    is_on: keep learning while scenes come, as `--follow` does.
    round_steps: of one round. It has a learning-rate cycle of its own (warm restarts: I. Loshchilov and F. Hutter,
        "SGDR", ICLR 2017): a schedule over all steps needs to know how many there will be, and a constant rate would
        have the gate compare weights that were never brought to rest. Adam's moments and the teacher go on.
    learning_rate_share: the top of a round's cycle, as a share of `optimiser.learning_rate`: below 1, because weights
        that have been learned already should not be thrown far.
    new_scenes: a round begins when so many scenes have been admitted that no published checkpoint has learned from.
    poll_s: seconds between looks into the store while there is nothing to do.
    publish: a link that is put to the published checkpoint, for `upcycle server serve --model`; "" is `published` in
        the run's folder.
    after_failure: a checkpoint that the gate refuses is kept but not published; training goes back to the last
        published one ("return"), or on from where it is ("go_on").
    failed_rounds: the run ends after so many refused rounds in a row.
    The keys poll_s, publish and failed_rounds are no part of the run's identity.
    """

    is_on: bool = False
    round_steps: int = 200
    learning_rate_share: float = 0.3
    new_scenes: int = 1
    poll_s: float = 30.0
    publish: str = ""
    after_failure: Literal["return", "go_on"] = "return"
    failed_rounds: int = 3
    admission: AdmissionConfig = AdmissionConfig()
    gate: GateConfig = GateConfig()

    def __post_init__(self) -> None:
        check.count("FollowConfig", "round_steps", self.round_steps, 10**9)
        check.number("FollowConfig", "learning_rate_share", self.learning_rate_share, 1e-6, 10)
        check.count("FollowConfig", "new_scenes", self.new_scenes, 10**9)
        check.number("FollowConfig", "poll_s", self.poll_s, 0.01, 86_400)
        check.count("FollowConfig", "failed_rounds", self.failed_rounds, 10**6)
