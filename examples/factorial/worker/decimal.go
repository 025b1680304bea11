package worker

import "math/big"

const (
	// leafDigits is where splitting stops and math/big formats by itself.
	leafDigits = 1024
	// pieceBytes is how much text is collected before it is handed on.
	pieceBytes = 8 << 10
)

// streamDecimal formats x, which must not be negative, and hands the text to
// emit in pieces, leading digits first. It returns false as soon as emit does.
// Each piece belongs to emit.
//
// big.Int.String computes the trailing digits first and delivers everything at
// the end; splitting at powers of ten costs the same divisions, but the left
// half is finished before the right half is looked at.
func streamDecimal(x *big.Int, emit func(piece []byte) bool) bool {
	f := &formatter{powers: powersUpTo(x), emit: emit}
	return f.split(x, len(f.powers)-1, false) && f.flush()
}

// powersUpTo returns 10^leafDigits, its square, the square of that and so on,
// until the square of the last one is above x.
func powersUpTo(x *big.Int) []*big.Int {
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(leafDigits), nil)
	var powers []*big.Int
	for p.Cmp(x) <= 0 {
		powers = append(powers, p)
		// By bit lengths alone: a square that is not needed is the dearest one.
		if 2*(p.BitLen()-1) >= x.BitLen() {
			break
		}
		p = new(big.Int).Mul(p, p)
	}
	return powers
}

// formatter is one formatting in progress.
type formatter struct {
	powers []*big.Int
	out    []byte
	emit   func([]byte) bool
}

// split formats x, which is below powers[level] squared. Padded text keeps its
// leading zeros, since other digits stand before it.
func (f *formatter) split(x *big.Int, level int, padded bool) bool {
	if level < 0 {
		return f.leaf(x, padded)
	}
	power := f.powers[level]
	if !padded && x.Cmp(power) < 0 {
		return f.split(x, level-1, false)
	}
	left, right := new(big.Int).QuoRem(x, power, new(big.Int))
	return f.split(left, level-1, padded) && f.split(right, level-1, true)
}

// leaf appends the text of x and hands a full piece on.
func (f *formatter) leaf(x *big.Int, padded bool) bool {
	text := x.Append(nil, 10)
	if padded {
		for range leafDigits - len(text) {
			f.out = append(f.out, '0')
		}
	}
	f.out = append(f.out, text...)
	return len(f.out) < pieceBytes || f.flush()
}

// flush hands on what is collected.
func (f *formatter) flush() bool {
	if len(f.out) == 0 {
		return true
	}
	piece := f.out
	f.out = make([]byte, 0, pieceBytes+leafDigits)
	return f.emit(piece)
}
