// max_pool.v: a max-pooling unit, and a bench that checks it against layer @ID@ of the golden bundle.
//
//   cd hex && iverilog -g2005 -o max_pool max_pool.v && vvp max_pool
//
// To check your own unit, put it in the place of max_pool_unit.
`timescale 1ns / 1ns

// Largest of the floats that come in after `first`, one a clock. Floats are compared as they stand: by sign, then as whole
// numbers. NaN is not handled, and the golden tensors of this bench have none.
module max_pool_unit(input clk, input first, input valid, input [31:0] x, output reg [31:0] best);
    wire greater = x[31] != best[31] ? best[31] : x[31] ? x[30:0] < best[30:0] : x[30:0] > best[30:0];
    always @(posedge clk)
        if (valid && (first || greater)) best <= x;
endmodule

module bench;
    parameter H = @H@, W = @W@, C = @C@, OH = @OH@, OW = @OW@, KH = @KH@, KW = @KW@, SY = @SY@, SX = @SX@;
    parameter TOP = @TOP@, LEFT = @LEFT@;
    reg [31:0] in [0:H*W*C-1];
    reg [31:0] want [0:OH*OW*C-1];
    reg clk, first, valid;
    reg [31:0] x;
    wire [31:0] best;
    integer i, j, c, ky, kx, row, column, n, wrong;

    max_pool_unit unit(.clk(clk), .first(first), .valid(valid), .x(x), .best(best));

    task tick;
        begin
            #1 clk = 1;
            #1 clk = 0;
        end
    endtask

    initial begin
        $readmemh("@IN@", in);
        $readmemh("@OUT@", want);
        clk = 0;
        wrong = 0;
        n = 0;
        for (i = 0; i < OH; i = i + 1)
            for (j = 0; j < OW; j = j + 1)
                for (c = 0; c < C; c = c + 1) begin
                    first = 1;
                    for (ky = 0; ky < KH; ky = ky + 1)
                        for (kx = 0; kx < KW; kx = kx + 1) begin
                            row = i * SY + ky - TOP;
                            column = j * SX + kx - LEFT;
                            valid = row >= 0 && row < H && column >= 0 && column < W;
                            if (valid) x = in[(row * W + column) * C + c];
                            tick;
                            if (valid) first = 0;
                        end
                    if (best !== want[n]) begin
                        if (wrong == 0) $display("first at [%0d,%0d,%0d]: got %h, want %h", i, j, c, best, want[n]);
                        wrong = wrong + 1;
                    end
                    n = n + 1;
                end
        $display("VERDICT %0s  @ID@: %0d of %0d words differ", wrong == 0 ? "PASS" : "FAIL", wrong, n);
        $finish;
    end
endmodule
