package worker

import "math/big"

const (
	// leafDigits is the length below which math/big formats a number.
	leafDigits = 1024
	// pieceBytes is the size of a piece of text.
	pieceBytes = 8 << 10
)

// streamDecimal formats x, which must not be negative, and passes the text to
// emit in pieces, leading digits first. It returns false as soon as emit does.
// Each piece belongs to emit.
//
// big.Int.String computes the trailing digits first and returns all digits at
// the end. Splitting at powers of ten needs the same divisions, but finishes
// the left half before it starts the right half.
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
		// The comparison uses bit lengths only, because an unnecessary square
		// is the most expensive one.
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
// leading zeros, because it follows other digits.
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

// leaf appends the text of x and emits a full piece.
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

// flush emits the collected text.
func (f *formatter) flush() bool {
	if len(f.out) == 0 {
		return true
	}
	piece := f.out
	f.out = make([]byte, 0, pieceBytes+leafDigits)
	return f.emit(piece)
}
