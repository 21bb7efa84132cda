"""Teaching and auditing: a network's numbers drawn, taken apart, counted, and compared with what is claimed of them.

    draw      the U to scale, as SVG
    explain   one number and every product that it was made from
    page      one HTML file in which a network recomputes live, with the bits of the definition; its JavaScript is web/
"""
