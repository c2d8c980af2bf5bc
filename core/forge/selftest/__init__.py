"""What `forge selftest` does: known answers of every op and weight type, then a short soak.

For people with a card that nobody here has: the report is made to be sent to whoever asks.
"""

from forge.selftest.answers import Answer, known_answers
from forge.selftest.report import Report
from forge.selftest.run import self_test
from forge.selftest.soak import Soak, soak

__all__ = ["Answer", "Report", "Soak", "known_answers", "self_test", "soak"]
