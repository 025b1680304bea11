package kit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
)

// Sequence is an endless row of bytes that never repeats. Each byte follows from its
// position, so a test detects lost, changed, doubled and swapped bytes without keeping any.
type Sequence uint64

const word = 8

// Fill fills p with the bytes of the sequence from position at on.
func (s Sequence) Fill(p []byte, at int64) {
	for len(p) > 0 {
		v := s.word(uint64(at) / word)
		skip := int(at % word)
		if skip == 0 && len(p) >= word {
			binary.LittleEndian.PutUint64(p, v)
			p, at = p[word:], at+word
			continue
		}
		var one [word]byte
		binary.LittleEndian.PutUint64(one[:], v)
		n := copy(p, one[skip:])
		p, at = p[n:], at+int64(n)
	}
}

// word computes eight bytes from a position, as the generator splitmix64 does.
func (s Sequence) word(i uint64) uint64 {
	v := uint64(s) + (i+1)*0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// String names the sequence.
func (s Sequence) String() string { return strconv.FormatUint(uint64(s), 10) }

// Reader returns the first bytes of the sequence.
func (s Sequence) Reader(size int64) io.Reader { return &sequenceReader{s, 0, size} }

type sequenceReader struct {
	Sequence
	at, size int64
}

func (r *sequenceReader) Read(p []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.at)]
	r.Fill(p, r.at)
	r.at += int64(len(p))
	return len(p), nil
}

// Judge is a writer that compares the bytes written with the sequence, from its first byte
// on.
type Judge struct {
	Sequence
	At   int64
	want []byte // reused
}

// Write fails at the first byte that differs from the sequence.
func (j *Judge) Write(p []byte) (int, error) {
	if len(j.want) < len(p) {
		j.want = make([]byte, len(p))
	}
	want := j.want[:len(p)]
	j.Fill(want, j.At)
	for i := range p {
		if p[i] != want[i] {
			n := min(len(p)-i, 16)
			return i, &WrongByte{j.At + int64(i), p[i : i+n], want[i : i+n]}
		}
	}
	j.At += int64(len(p))
	return len(p), nil
}

// WrongByte is the error of a Judge: the first wrong byte, with some bytes after it.
type WrongByte struct {
	at        int64
	got, want []byte
}

func (e *WrongByte) Error() string {
	return fmt.Sprintf("from byte %d on %x, want %x", e.at, e.got, e.want)
}

// WantCut reads a body that must end with an error, and must have no wrong byte before
// that.
func WantCut(t *testing.T, body io.Reader) {
	t.Helper()
	n, err := io.Copy(new(Judge), body)
	if _, wrong := errors.AsType[*WrongByte](err); wrong || err == nil {
		t.Errorf("it ended after %d bytes with %v, want a cut", n, err)
	}
}
