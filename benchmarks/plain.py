"""MAESTRO written down plainly, from ordinary torch modules: what ours is measured against.

The same arithmetic with the same weights (published names), done as the published step does it:
position tables rebuilt and pooled in every step, every token decoded and turned into pixels, whole
images normalised, masked pixels picked by boolean masks, overlays for pictures made whether they
are logged or not, softmax attention in separate operations.
Group and mod fusion, no missing data.
"""

import math

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Softmax attention."""

    def __init__(self, width, heads, head_width):
        super().__init__()
        inner = heads * head_width
        self.heads, self.scale = heads, head_width**-0.5
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, width), nn.Dropout(0.0))

    def forward(self, x):
        """Mix tokens (b, n, w)."""
        q, k, v = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in (q, k, v))
        weights = (torch.matmul(q, k.transpose(-1, -2)) * self.scale).softmax(dim=-1)
        return self.to_out(rearrange(torch.matmul(weights, v), "b h n d -> b n (h d)"))


class FeedForward(nn.Module):
    """Two layers, with the dropouts (of zero) that give its parameters their published names."""

    def __init__(self, width, hidden):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0),
            nn.Linear(hidden, width), nn.Dropout(0.0),
        )  # fmt: skip

    def forward(self, x):
        """Transform tokens."""
        return self.net(x)


class Transformer(nn.Module):
    """Pre-norm blocks and a last norm."""

    def __init__(self, width, depth, heads, head_width, hidden):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, heads, head_width), FeedForward(width, hidden)])
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        """Transform tokens."""
        for attention, mlp in self.layers:
            x = attention(x) + x
            x = mlp(x) + x
        return self.norm(x)


class PatchifyBands(nn.Module):
    """A convolution and a norm over an image."""

    def __init__(self, bands, width, patch):
        super().__init__()
        self.conv = nn.Conv2d(bands, width, patch, patch)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, images):
        """Embed (b, d, c, h, w) as (b, d, l, width)."""
        x = self.norm(self.conv(images.flatten(0, 1)))
        return rearrange(x, "(b d) w i j -> b d (i j) w", b=len(images))


class PixelifyBands(nn.Module):
    """A 1 x 1 convolution to the pixels of a patch."""

    def __init__(self, bands, width, patch):
        super().__init__()
        self.patch = patch
        self.conv = nn.Conv2d(width, bands * patch**2, 1)

    def forward(self, tokens):
        """Turn (b, d, l, w) into images (b, d, c, h, w)."""
        b, grid = len(tokens), math.isqrt(tokens.shape[2])
        x = self.conv(rearrange(tokens, "b d (i j) w -> (b d) w i j", i=grid))
        p = self.patch
        return rearrange(x, "(b d) (p q c) i j -> b d c (i p) (j q)", b=b, p=p, q=p)


class _Bands(nn.Module):
    """The parts of one modality, a band group each, under the published name."""

    def __init__(self, name, parts):
        super().__init__()
        setattr(self, name, nn.ModuleList(parts))


class PlainMaestro(nn.Module):
    """The model; ``config`` is ours, names of parameters are the published ones."""

    def __init__(self, config):
        super().__init__()
        s, joint = config.size, config.joint_depth
        self.config, self.modalities = config, dict(config.contract.modalities)
        self.pictures = {}
        self.groups = {}
        for name, m in self.modalities.items():
            key = m.fusion_group or name if config.fusion == "group" else name
            self.groups.setdefault(key, []).append(name)
        self.patch_embed, self.embed_to_rec = nn.ModuleDict(), nn.ModuleDict()
        self.mask_token = nn.ParameterDict()
        for name, m in self.modalities.items():
            sizes = [len(g) for g in m.token_groups]
            self.patch_embed[name] = _Bands(
                "patchify_bands", [PatchifyBands(n, s.width, m.patch) for n in sizes]
            )
            self.embed_to_rec[name] = _Bands(
                "pixelify_bands", [PixelifyBands(n, s.decoder_width, m.patch) for n in sizes]
            )
            self.mask_token[name] = nn.Parameter(torch.randn(1, len(sizes), 1, 1, s.decoder_width))

        def encoder(depth):
            return Transformer(s.width, depth, s.heads, s.head_width, s.hidden)

        def decoder():
            return Transformer(
                s.decoder_width, s.decoder_depth, s.decoder_heads, s.decoder_head_width,
                s.decoder_hidden,
            )  # fmt: skip

        self.encoder = nn.ModuleDict({g: encoder(s.depth - joint) for g in self.groups})
        if joint:
            self.encoder_inter = encoder(joint)
        self.enc_to_dec = nn.ModuleDict(
            {g: nn.Linear(s.width, s.decoder_width) for g in self.groups}
        )
        self.decoder = nn.ModuleDict({g: decoder() for g in self.groups})

    def code(self, width, name, dates, ref_date):
        """Build the table of positions and pool it, and the code of dates: (b, d, l, w)."""
        cells, grid = self.config.contract.position_cells, self.modalities[name].grid
        device, count = dates.device, (width - 8) // 4
        steps = torch.arange(count, dtype=torch.float32, device=device)
        omega = 10000.0 ** (-steps / (count - 1))
        y, x = torch.meshgrid(
            torch.arange(cells, device=device, dtype=torch.float32),
            torch.arange(cells, device=device, dtype=torch.float32), indexing="ij",
        )  # fmt: skip
        x, y = x.flatten()[:, None] * omega, y.flatten()[:, None] * omega
        table = torch.cat([x.sin(), x.cos(), y.sin(), y.cos(), torch.zeros_like(x[:, :8])], dim=1)
        table = rearrange(table, "(i j) w -> 1 w i j", i=cells)
        if cells % grid:
            side = round(cells / grid) * grid
            table = F.interpolate(table, (side, side), mode="bilinear", align_corners=False)
        pooled = rearrange(table, "1 w (i a) (j b) -> (i j) (a b) w", i=grid, j=grid).mean(1)
        year, day, hour = dates.float().unbind(-1)
        ref = ref_date.float()[:, None]
        since = (year + day / 365.25) - (ref[..., 0] + ref[..., 1] / 365.25)
        season, clock = 2 * math.pi * day / 365.25, 2 * math.pi * hour / 24
        when = torch.stack([since] * 4 + [season.sin(), season.cos(), clock.sin(), clock.cos()], -1)
        full = pooled[None, None].repeat(*dates.shape[:2], 1, 1)
        full[..., -8:] += when[:, :, None]
        return full

    def whole_code(self, width, name, series, ref_date):
        """Return the code of all tokens of a modality: (b, g * d * l, w)."""
        groups = len(self.modalities[name].token_groups)
        code = self.code(width, name, series.dates, ref_date)
        return code.repeat(1, groups, 1, 1).flatten(1, 2)

    def forward(self, batch, masks):
        """Return the loss (l1, normalised), for masks given: group to bool (b, n)."""
        s, ref = self.config.size, batch.ref_date
        images = {}
        for name, m in self.modalities.items():
            values = batch.series[name].values
            images[name] = F.interpolate(
                values.flatten(0, 1), (m.size, m.size), mode="nearest"
            ).unflatten(0, values.shape[:2])
        encoded = {}
        for group, names in self.groups.items():
            tokens = torch.cat([self.embed(n, images[n]) for n in names], dim=1)
            codes = [self.whole_code(s.width, n, batch.series[n], ref) for n in names]
            tokens = tokens + torch.cat(codes, dim=1)
            visible = tokens[~masks[group]].view(len(tokens), -1, s.width)
            encoded[group] = self.encoder[group](visible)
        if self.config.joint_depth:
            parts = list(encoded.values())
            joint = self.encoder_inter(torch.cat(parts, dim=1))
            joint = joint.split([p.shape[1] for p in parts], dim=1)
            encoded = dict(zip(encoded, joint, strict=True))
        losses, weights = [], []
        for group, names in self.groups.items():
            decoded = self.decode(group, names, encoded[group], masks[group], batch)
            sizes = [self.modalities[n].tokens for n in names]
            for name, part, mask in zip(
                names, decoded.split(sizes, 1), masks[group].split(sizes, 1), strict=True
            ):
                m = self.modalities[name]
                losses.append(self.score(name, part, mask, images[name]))
                weights.append(m.dates * m.grid**2)
        return sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)

    def embed(self, name, images):
        """Embed the band groups of a modality: (b, g * d * l, w)."""
        m, parts = self.modalities[name], []
        for bands, part in zip(m.token_groups, self.patch_embed[name].patchify_bands, strict=True):
            parts.append(part(images[:, :, [m.bands.index(b) for b in bands]]))
        return torch.cat(parts, dim=1).flatten(1, 2)

    def decode(self, group, names, encoded, mask, batch):
        """Put tokens back in order, with mask tokens between them, and decode all."""
        width = self.config.size.decoder_width
        full = torch.cat(
            [
                self.mask_token[n]
                .expand(len(mask), -1, self.modalities[n].dates, self.modalities[n].grid ** 2, -1)
                .flatten(1, 3)
                for n in names
            ],
            dim=1,
        )
        encoded = self.enc_to_dec[group](encoded)
        full = full.to(encoded.dtype).clone()
        full[~mask] = encoded.flatten(0, 1)
        codes = [self.whole_code(width, n, batch.series[n], batch.ref_date) for n in names]
        return self.decoder[group](full + torch.cat(codes, dim=1))

    def score(self, name, decoded, mask, images):
        """Compare all pixels of masked tokens of a modality with the normalised image."""
        m = self.modalities[name]
        g, d, p = len(m.token_groups), m.dates, m.patch
        decoded = rearrange(decoded, "b (g d l) w -> g b d l w", g=g, d=d)
        heads = self.embed_to_rec[name].pixelify_bands
        rebuilt = torch.cat([head(part) for head, part in zip(heads, decoded, strict=True)], dim=2)
        order = [m.bands.index(b) for bands in m.token_groups for b in bands]
        target = normalised(images, m)[:, :, order]
        mask = rearrange(mask, "b (g d i j) -> b d g i j", g=g, d=d, i=m.grid)
        counts = torch.tensor([len(bands) for bands in m.token_groups], device=mask.device)
        mask = mask.repeat_interleave(counts, dim=2)
        mask = mask.repeat_interleave(p, dim=3).repeat_interleave(p, dim=4)
        self.pictures[name] = pictures(target, rebuilt, mask)
        return (rebuilt[mask].float() - target[mask]).abs().mean()


@torch.no_grad()
def pictures(target, rebuilt, mask):
    """Make what the published step makes in every step, logged or not: three overlays."""
    zero = torch.zeros_like(target)
    return [
        torch.where(mask, zero, target),
        torch.where(mask, rebuilt.float(), zero),
        torch.where(mask, rebuilt.float(), target),
    ]


def normalised(images, m):
    """Normalise whole images patch by patch: channels last, split into groups of bands."""
    p = m.patch
    order = [m.bands.index(b) for group in m.norm_groups for b in group]
    patches = rearrange(images[:, :, order], "b d c (i p) (j q) -> b d i j (p q) c", p=p, q=p)
    parts = []
    for part in patches.split([len(group) for group in m.norm_groups], dim=-1):
        mean = part.mean((-2, -1), keepdim=True)
        variance = part.var((-2, -1), keepdim=True)
        parts.append((part - mean) / (variance + 1e-6).sqrt())
    back = rearrange(torch.cat(parts, -1), "b d i j (p q) c -> b d c (i p) (j q)", p=p, q=p)
    return back[:, :, [order.index(k) for k in range(len(order))]]
