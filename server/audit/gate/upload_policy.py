"""Policy files: what vehicles are to upload, and what an audit of exactly that must have shown before."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from server.audit.attacks import build
from server.audit.scores import direction_of
from shared_models import guards
from shared_models.configuration import from_toml
from shared_models.errors import ConfigError, InvalidValueError
from shared_models.records import check

ANY = "*"
EFFORTS = ("quick", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that attacks may have brought back, by one measure.

    measure: name of an estimate in the report ("f_score_0.2m", "above_ground/f_score_0.2m", "auc").
    most: highest value that passes; shares are 0 to 1.
    attack: attack or title as in the report; "*": every attack that has the measure.
    threat, group: names as in the report; "*": all of them.
    bound: "high": the upper end of the 95 % interval, which has to be there; "mean": the mean alone.
    above: name of a floor ("chance", "mean scene"): its mean is taken off first, so that `most` is what lies above it.
    is_required: False passes where nothing in the report has the measure, as with "verbatim_share" of a payload
        without keypoints.
    """

    measure: str
    most: float
    attack: str = ANY
    threat: str = ANY
    group: str = ANY
    bound: Literal["high", "mean"] = "high"
    above: str = ""
    is_required: bool = True

    def __post_init__(self) -> None:
        if not self.measure:
            raise InvalidValueError("Limit.measure: expected the name of a measure, got ''")
        check.number("Limit", "most", self.most, -1e6, 1e6)
        if direction_of(self.measure) < 0:
            raise InvalidValueError(f"Limit.measure: of {self.measure} less says more; limit a share, as f_score_0.2m")

    def described(self) -> str:
        """In one line, for people."""
        where = [f"{word} {name}" for word, name in (("attack", self.attack), ("threat", self.threat),
                                                     ("group", self.group)) if name != ANY]  # fmt: skip
        above = f" above {self.above}" if self.above else ""
        return f"{self.measure}{above} ({', '.join(where) or 'all attacks'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredAttack:
    """An attack that must have been tried.

    attack: attack or title as in the report. threat: that it was tried under; "*": any.
    least_steps: of training that it had at least.
    settings: of the attack, as in an audit file, where `attack` is its own name; what is not named here, but for its
        steps, has to be as this version ships it, so that nobody passes with attackers made weaker. `on` of an attack
        that looks at another one's scans is that other attack's name; that one must be as the policy requires it.
    """

    attack: str
    threat: str = ANY
    least_steps: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check.count("RequiredAttack", "least_steps", self.least_steps, 10**9, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPolicy:
    """What vehicles upload, and the audit that allows it.

    name: for people.
    backbone: SHA-256 (hex) of the vehicles' frozen part; "" takes the audit's.
    split_layer, codec: names; "" takes the audit's.
    guard: as `shared_models.guards.build` takes it; "default" is the one that this version recommends, "" the audit's.
    effort: least size of the audit, quick or full.
    least_scenes: in each group of scenes that a limit looks at.
    least_own_scenes: scans of his own that the attacker had at least.
    needs_real_scenes: whether one group of victims has to be real scans, not simulated ones.
    is_cut_allowed: whether attacks count whose time ran out before their steps; a faster machine finds more.
    max_age_days: age of the report at most; 0 any.
    required: attacks that must have been tried. limits: what they may have brought back at most.
    """

    name: str = "policy"
    backbone: str = ""
    split_layer: str = "conv_out"
    codec: str = ""
    guard: str = "default"
    effort: Literal["quick", "full"] = "quick"
    least_scenes: int = 8
    least_own_scenes: int = 0
    needs_real_scenes: bool = True
    is_cut_allowed: bool = False
    max_age_days: float = 90.0
    required: tuple[RequiredAttack, ...] = ()
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        check.name("UploadPolicy", "name", self.name, 60)
        if self.backbone:
            check.sha256_hex("UploadPolicy", "backbone", self.backbone)
        check.count("UploadPolicy", "least_scenes", self.least_scenes, 10**7)
        check.count("UploadPolicy", "least_own_scenes", self.least_own_scenes, 10**7, 0)
        check.number("UploadPolicy", "max_age_days", self.max_age_days, 0, 36_500)
        if not self.limits or not self.required:
            raise InvalidValueError(
                "UploadPolicy: expected at least one [[limits]] and one [[required]], for a policy without them allows "
                "everything"
            )

    @property
    def guard_description(self) -> str:
        """The guard with all its settings, as payloads name it; "" where the audit's is taken.

        Raises:
            UnknownNameError, ConfigError: there is no such guard.
        """
        return guards.build(self.guard).described() if self.guard else ""


def load_policy(path: Path) -> UploadPolicy:
    """The policy in a TOML file.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value wrong; the message names file and key.
        UnknownNameError: there is no such guard, or no such attack where settings are given.
    """
    policy = from_toml(UploadPolicy, path)
    try:
        _ = policy.guard_description
        for required in policy.required:
            if required.settings:
                build(required.attack, required.settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return policy
