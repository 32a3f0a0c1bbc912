"""What checks annotations while tests run: beartype, with an int allowed where a float is declared."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
