"""BIO tags, read one by one: what the tests hold the heads' own reading against."""


def repaired(tags):
    """Tags in which no span begins with I-: such a one begins with B-."""
    result, before = [], "O"
    for tag in tags:
        result.append(f"B-{tag[2:]}" if tag.startswith("I-") and before[2:] != tag[2:] else tag)
        before = tag
    return result


def spans_of(tags):
    """(type, first word, last word) of each span."""
    spans = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append((tag[2:], place, place))
        elif tag.startswith("I-"):
            spans[-1] = (*spans[-1][:2], place)
    return spans
