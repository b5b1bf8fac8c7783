"""What a data set's published protocol says of a result, and what the corrected one says: named scores."""

from deblurkit.scores.installed import Scorer, extra_scores
from deblurkit.scores.protocols import ERROR_RATIOS, RAW, error_ratios, protocol_of
from deblurkit.scores.score import Protocol, Score

__all__ = ["ERROR_RATIOS", "RAW", "Protocol", "Score", "Scorer", "error_ratios", "extra_scores", "protocol_of"]
