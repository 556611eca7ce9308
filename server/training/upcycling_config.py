"""Settings of the recipe `upcycling`; the UNKNOWN points of the paper among them are told in docs/upcycling.md."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from server.training.features.chain import FeatureAugmentationConfig
from server.training.features.object_bank import FeatureBankConfig
from server.training.objective import TermSelection
from server.training.pseudo_labels import PseudoLabelConfig
from server.training.stored_features import StoreConfig
from server.training.teacher import TeacherConfig
from shared_models.errors import InvalidValueError
from shared_models.records import check

Hybrid = Literal["joined", "class_and_box", "exact_boxes"]
# Which loss terms an unlabelled scene has. The supplement's Table 4 warns that class losses on imperfect pseudo labels
# make SECOND-IoU collapse.
PSEUDO_TERMS = TermSelection(
    classification="exact_and_background", roi_iou="exact_and_background", points="exact_and_background"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcyclingConfig:
    """Settings of UpCycling.

    store: which stored scenes are learned from.
    guard_labelled: labelled features, and those of the objects that are pasted, go through `store.guard` too, so that
        they are like the unlabelled ones.
    unlabelled_ratio: unlabelled scenes for each labelled one; 1 for partial labels, 2 for domain adaptation.
    unlabelled_weight: of their losses (lambda_u).
    repeat: how often each labelled frame comes in one epoch.
    warm_up_steps: until then the unlabelled losses rise from 0 to their weight.
    hybrid: "joined" takes the teacher's sure boxes and the pasted objects' exact ones; "class_and_box" also learns
        classes from pseudo labels (reading b of the paper); "exact_boxes" learns boxes from pasted objects only
        (reading c).
    terms: loss terms of unlabelled scenes where `hybrid` is "joined".
    pseudo_labels, teacher, features, bank: settings of these parts.
    compare_with_labels: read the labels of the unlabelled frames too, where there are some, and log how good the pseudo
        labels are; nothing is learned from them.
    database_min_points: as `DatabaseConfig`, for raw augmentation of the labelled scans.
    agreement_every: steps between comparisons of the student's own boxes with the teacher's, for telemetry; 0 never.
    """

    store: StoreConfig = StoreConfig()
    guard_labelled: bool = False
    unlabelled_ratio: int = 1
    compare_with_labels: bool = False
    unlabelled_weight: float = 1.0
    repeat: int = 1
    warm_up_steps: int = 0
    hybrid: Hybrid = "joined"
    terms: TermSelection = PSEUDO_TERMS
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    teacher: TeacherConfig = TeacherConfig()
    features: FeatureAugmentationConfig = field(default_factory=FeatureAugmentationConfig)
    bank: FeatureBankConfig = FeatureBankConfig()
    database_min_points: int = 5
    agreement_every: int = 100

    def __post_init__(self) -> None:
        check.count("UpcyclingConfig", "unlabelled_ratio", self.unlabelled_ratio, 64)
        check.number("UpcyclingConfig", "unlabelled_weight", self.unlabelled_weight, 0, 1000)
        check.count("UpcyclingConfig", "repeat", self.repeat, 10_000)
        check.count("UpcyclingConfig", "warm_up_steps", self.warm_up_steps, 10**9, 0)
        check.count("UpcyclingConfig", "database_min_points", self.database_min_points, 100_000)
        check.count("UpcyclingConfig", "agreement_every", self.agreement_every, 10**9, 0)
        if self.hybrid not in get_args(Hybrid):
            raise InvalidValueError(
                f"UpcyclingConfig.hybrid: expected one of {', '.join(get_args(Hybrid))}, got {self.hybrid!r}"
            )

    @property
    def selection(self) -> TermSelection:
        """The loss terms of an unlabelled scene."""
        if self.hybrid == "class_and_box":
            return TermSelection()
        if self.hybrid == "exact_boxes":
            return replace(TermSelection(), box="exact", direction="exact", roi_box="exact")
        return self.terms
