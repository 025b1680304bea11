package worker

import (
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
)

// MaxN is the largest number whose factorial is computed; it has 973,351
// digits and takes about a second.
const MaxN = 200_000

var (
	errJunk     = errors.New("the last part of the path must be a whole number, as in /factorial/1000")
	errNegative = errors.New("there is no factorial of a negative number")
	errTooLarge = fmt.Errorf("too large: the limit is %d", MaxN)
)

// parseN parses the number in the path.
func parseN(text string) (int64, error) {
	digits, negative := strings.CutPrefix(text, "-")
	n, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, errJunk
	case negative:
		return 0, errNegative
	case err != nil, n > MaxN:
		return 0, errTooLarge
	}
	return int64(n), nil
}

// factorial is the blocking handler: until it returns, no other handler
// runs on the loop.
func (s *Server) factorial(r *http.Request, p *reply) {
	n, err := parseN(r.PathValue("n"))
	switch {
	case errors.Is(err, errTooLarge):
		p.say(http.StatusUnprocessableEntity, err.Error()+"\n")
		return
	case err != nil:
		p.say(http.StatusBadRequest, err.Error()+"\n")
		return
	}
	product := new(big.Int).MulRange(1, n)
	p.cut = !streamDecimal(product, func(piece []byte) bool {
		select {
		case <-p.gone:
			return false
		case <-s.quit:
			return false
		default:
			p.pieces <- piece
			return true
		}
	})
}

// ping is the fast handler: it takes no time, but it needs the loop.
func (s *Server) ping(_ *http.Request, p *reply) {
	p.say(http.StatusOK, "pong\n")
}
