"""Teaching and auditing: a network's numbers drawn, taken apart, counted, and compared with what is claimed of them.

    draw      the U to scale, as SVG (drawing: what stands where)
    explain   one number and every product that it was made from (rules: a function an operator); backprop its gradient
    page      one HTML file in which a network recomputes live, with the bits of the definition; its JavaScript is web/
    audit     everything counted, checked and shown of one model: costs, memory, ranges, oddities, parity ...
    report    an audit as text, JSON and HTML

    explain_integer, integer_page, integer_audit   the same of integer networks

All begin with a subject: a network at one size, its weights, one input.
"""
