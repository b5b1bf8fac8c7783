"""From one blurry picture and a configuration to a judged result."""

from deblurkit.pipeline.deblur import Result, admitted, deblur, observe, prepare
from deblurkit.pipeline.judge import Quality
from deblurkit.pipeline.parts import Parts
from deblurkit.pipeline.plan import Plan
from deblurkit.pipeline.progress import Listener, Progress

__all__ = ["Listener", "Parts", "Plan", "Progress", "Quality", "Result", "admitted", "deblur", "observe", "prepare"]
