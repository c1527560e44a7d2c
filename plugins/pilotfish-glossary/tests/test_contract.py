"""What the gateway and the preparation rely on, with terms of the suite's questions."""

from pilotfish.testing.adaptations import OnRequestContract
from pilotfish.testing.preparing import PreparingContract
from pilotfish_glossary import Glossary

DOCUMENTS = {
    "cities.csv": b"term,definition,aliases\ncapital,The seat of a government.,seat of government\n",
    "countries.csv": b"term,definition\nAustralia,A country and a continent.\nBild,A picture.\n",
}


class TestRequests(OnRequestContract):
    plugin = Glossary
    documents = DOCUMENTS


class TestPreparation(PreparingContract):
    plugin = Glossary
    documents = DOCUMENTS
