package sealed_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/sealed"
)

func keys(t testing.TB, ids ...string) *sealed.Keys {
	t.Helper()
	var all []sealed.Key
	for _, id := range ids {
		k := sealed.Key{ID: id}
		copy(k.Secret[:], id)
		all = append(all, k)
	}
	k, err := sealed.NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The example of the specification of XAES-256-GCM, with our ID of the key before it.
func TestCipherIsXAES(t *testing.T) {
	key := sealed.Key{ID: "k", Secret: [32]byte(bytes.Repeat([]byte{1}, 32))}
	k, err := sealed.NewKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := hex.DecodeString("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271")
	message := append([]byte("\x01kABCDEFGHIJKLMNOPQRSTUVWX"), text...)
	if plain, err := k.Open(message, nil); string(plain) != "XAES-256-GCM" || err != nil {
		t.Errorf("got %q, %v", plain, err)
	}
}

func TestValuesAreReadWithTheirKeyAlone(t *testing.T) {
	old := keys(t, "old")
	value := old.Seal(nil, []byte("value"), []byte("place"))
	if bytes.Contains(value, []byte("value")) {
		t.Error("the value can be read")
	}
	if plain, err := keys(t, "new", "old").Open(value, []byte("place")); string(plain) != "value" || err != nil {
		t.Errorf("after a rotation: %q, %v", plain, err)
	}
	if _, err := keys(t, "new").Open(value, []byte("place")); !errors.Is(err, sealed.ErrNoKey) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := (*sealed.Keys)(nil).Open(value, []byte("place")); !errors.Is(err, sealed.ErrNoKey) {
		t.Errorf("without keys: %v", err)
	}
	if _, err := old.Open(value, []byte("other")); !errors.Is(err, sealed.ErrForged) {
		t.Errorf("in another place: %v", err)
	}
	for i := range value {
		forged := bytes.Clone(value)
		forged[i] ^= 1
		if _, err := old.Open(forged, []byte("place")); err == nil {
			t.Errorf("byte %d may change", i)
		}
	}
	if _, err := sealed.NewKeys(sealed.Key{ID: "a"}, sealed.Key{ID: "a"}); err == nil {
		t.Error("two keys have one ID")
	}
}

// write writes data in pieces, with some flushes between them, and compares what can be read.
func write(t *testing.T, w *sealed.Writer, data []byte) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(len(data))))
	for done := 0; done < len(data); {
		n := min(len(data)-done, 1+random.IntN(100_000))
		if _, err := w.Write(data[done : done+n]); err != nil {
			t.Fatal(err)
		}
		done += n
		if random.IntN(3) == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		from := random.IntN(done)
		got := make([]byte, done-from)
		if _, err := w.ReadAt(got, int64(from)); err != nil || !bytes.Equal(got, data[from:done]) {
			t.Fatalf("bytes %d to %d: %v", from, done, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreReadAtAnyOffset(t *testing.T) {
	k := keys(t, "key")
	for _, size := range []int{0, 1, sealed.SegmentSize - 1, sealed.SegmentSize, sealed.SegmentSize + 1, 5*sealed.SegmentSize + 77} {
		data := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(size)}).Read(data)
		name := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := k.NewWriter(f)
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, data)
		w.Close()

		r := open(t, k, name)
		if r.Size() != int64(size) {
			t.Errorf("%d bytes: size %d", size, r.Size())
		}
		if got, err := io.ReadAll(io.NewSectionReader(r, 0, 1<<40)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", size, err)
		}
		for range 50 {
			from := rand.IntN(size + 1)
			got := make([]byte, rand.IntN(size-from+1))
			if n, err := r.ReadAt(got, int64(from)); err != nil || !bytes.Equal(got, data[from:from+n]) {
				t.Fatalf("%d bytes at %d of %d: %v", len(got), from, size, err)
			}
		}
	}
}

func open(t *testing.T, k *sealed.Keys, name string) *sealed.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := k.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestFilesCannotBeCutOrReordered(t *testing.T) {
	k := keys(t, "key")
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := k.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, make([]byte, 3*sealed.SegmentSize))
	w.Close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const head, segment = 64, sealed.SegmentSize + 40
	swapped := bytes.Clone(whole)
	copy(swapped[head:], whole[head+segment:head+2*segment])
	for what, changed := range map[string][]byte{
		"cut at a segment": whole[:head+2*segment],
		"cut":              whole[:len(whole)-1],
		"swapped":          swapped,
		"another file":     append(bytes.Repeat([]byte{7}, 1), whole[1:]...),
		"head alone":       whole[:head],
		"empty":            nil,
	} {
		if err := os.WriteFile(name, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.NewReader(f)
		if err == nil {
			_, err = r.ReadAt(make([]byte, 3*sealed.SegmentSize), 0)
		}
		if !errors.Is(err, sealed.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
		f.Close()
	}
}
