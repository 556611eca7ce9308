"""What the occupancy decoder learns from one of the attacker's own scenes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from server.audit.networks.children import membership, occupied_before
from server.audit.networks.occupancy_decoder import OccupancyDecoder, VoxelGuess, keep_likely
from server.audit.networks.own_scenes import OwnScene
from shared_models.sparse.sites import row_major_keys
from shared_models.sparse.tensor import SparseFeatures, collate

LED_SHARE: Final = 0.5


def occupancy_loss(
    decoder: OccupancyDecoder, scene: OwnScene, positive_weight: float, spread: float, generator: torch.Generator
) -> Tensor:
    """Weighted cross-entropy at every scale, then over the last scale's voxels, and smooth L1 of places and intensity.

    A scale passes on its likeliest cells, up to `spread` times as many as really were active, as it will in an attack;
    in every other step, drawn, also all that really were. So it meets its own mistakes, and is not led by them alone.

    positive_weight: of an occupied cell; empty candidates are the more numerous ones.
    """
    room = 1 + (spread - 1) * float(torch.rand((), generator=generator))
    is_led = bool(torch.rand((), generator=generator) < LED_SHARE)
    parents = decoder.begin(collate([scene.grid]))
    total = parents.features.new_zeros(())
    for number, truth in enumerate(occupied_before(scene.voxels.sites, decoder.layer)):
        found = decoder.candidates(number, parents)
        is_occupied = membership(found.sites, truth)
        total = total + cross_entropy(found.logits, is_occupied, positive_weight)
        is_kept = keep_likely(found, round(room * len(truth)))
        parents = found.chosen(is_kept | is_occupied if is_led else is_kept)
    guess = decoder.voxels(parents)
    is_occupied = membership(guess.sites, scene.voxels.sites)
    if decoder.specs:
        total = total + cross_entropy(guess.logits, is_occupied, positive_weight)
    return total + offset_loss(decoder, guess, scene.voxels, is_occupied)


def cross_entropy(logits: Tensor, is_occupied: Tensor, positive_weight: float) -> Tensor:
    """Mean over candidates; 0 without any."""
    if len(logits) == 0:
        return logits.sum()
    weight = logits.new_tensor(positive_weight)
    return binary_cross_entropy_with_logits(logits, is_occupied.to(logits.dtype), pos_weight=weight)


def offset_loss(decoder: OccupancyDecoder, guess: VoxelGuess, voxels: SparseFeatures, is_occupied: Tensor) -> Tensor:
    """Smooth L1 of place (in voxels) and intensity over the guessed voxels that are occupied; 0 without any."""
    if not bool(is_occupied.any()):
        return guess.places.sum() * 0
    wanted = row_major_keys(voxels.sites.coords, voxels.sites.shape)
    keys = row_major_keys(guess.sites.coords[is_occupied], guess.sites.shape)
    means = voxels.features[torch.searchsorted(wanted, keys)]
    places = (means[:, :3] - voxel_centres_m(decoder, guess.sites.coords[is_occupied])) / means.new_tensor(
        decoder.position.voxel_size_m
    )
    return smooth_l1_loss(guess.places[is_occupied], places, beta=0.1) + smooth_l1_loss(
        guess.intensity[is_occupied], means[:, 3], beta=0.1
    )


def voxel_centres_m(decoder: OccupancyDecoder, coords: Tensor) -> Tensor:
    """(V, 3) [x y z] centres of input voxels (V, 4) int32 [batch z y x], metres, LiDAR frame."""
    low = coords.new_tensor(decoder.position.point_range_m[:3], dtype=torch.float32)
    size = coords.new_tensor(decoder.position.voxel_size_m, dtype=torch.float32)
    return low + (coords[:, 1:].flip(1).float() + 0.5) * size
