// compare.v: two $readmemh files, word by word; a word that is missing differs, a NaN equals any NaN.
//
//   iverilog -g2005 -P compare.WORDS=3072 -o compare compare.v
//   vvp compare +want=case00_random/L002_ENC1_D1_act.out.mem +got=dump/L002_ENC1_D1_act.out.mem
`timescale 1ns / 1ns

module compare;
    parameter WORDS = 1;
    reg [31:0] want [0:WORDS-1];
    reg [31:0] got [0:WORDS-1];
    reg [8*512-1:0] path;
    integer n, wrong;

    function is_nan(input [31:0] word);
        is_nan = word[30:23] == 8'hff && word[22:0] != 0;
    endfunction

    initial begin
        wrong = 0;
        if (!$value$plusargs("want=%s", path)) $display("give +want=FILE");
        else $readmemh(path, want, 0, WORDS - 1);
        if (!$value$plusargs("got=%s", path)) $display("give +got=FILE");
        else $readmemh(path, got, 0, WORDS - 1);
        for (n = 0; n < WORDS; n = n + 1)
            if (^want[n] === 1'bx || (got[n] !== want[n] && !(is_nan(got[n]) && is_nan(want[n])))) begin
                if (wrong == 0) $display("first at %0d: got %h, want %h", n, got[n], want[n]);
                wrong = wrong + 1;
            end
        $display("VERDICT %0s  %0d of %0d words differ", wrong == 0 ? "PASS" : "FAIL", wrong, WORDS);
        $finish;
    end
endmodule
