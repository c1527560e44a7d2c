"""The operator as a process of its own, and a proxy before the API server that makes it fail on request."""

from operatorprocess.account import Account
from operatorprocess.process import OperatorProcess
from operatorprocess.proxy import PASS, Gate, Verdict, proxy

__all__ = ["PASS", "Account", "Gate", "OperatorProcess", "Verdict", "proxy"]
