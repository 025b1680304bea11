package claims

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// The cost of a body is the largest number in the field, by the divisor and rounded up.
func TestCostOfABody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for _, test := range []struct {
		option, body string
		want         int
	}{
		{"json max_tokens/1024", `{"max_tokens": 3000}`, 3},
		{"json max_tokens/1024", `{"max_tokens": 1024}`, 1},
		{"json max_tokens/1024", `{"max_tokens": 1025}`, 2},
		{"json max_tokens/1024", ` { "a" : [1, {"max_tokens": 9999}], "max_tokens" : 2048 , "b" : null } `, 2},
		{"json max_tokens/1024", `{"a":"` + long + `\\\\","b":"\\\"max_tokens\\\":9","max_tokens":4096}`, 4},
		{"json max_tokens/1024", `{"` + long + `":1,"max_tokens":4096}`, 4},
		{"json max_tokens/1024", `{"max_tokens": 1, "max_tokens": 4096}`, 4},
		{"json max_tokens/1024", `{"max_tokens": 4096, "max_tokens": 1}`, 4},
		{"json max_tokens/1024", `{"max\u005ftokens": 4096}`, 4},
		{"json max_tokens/1024", `{"max_tokens": 1e400}`, 2147483647},
		{"json max_tokens/1024", `{"max_tokens": -5}`, 1},
		{"json max_tokens/1024", `{"max_tokens": "4096"}`, 1},
		{"json max_tokens/1024", `{"max_tokens": {"max_tokens": 4096}}`, 1},
		{"json max_tokens/1024", `{"max_tokens": [4096]}`, 1},
		{"json max_tokens/1024", `{"max_tokens": true}`, 1},
		{"json max_tokens/1024", `{"max_tokens": 4096`, 1},
		{"json max_tokens/1024", `[{"max_tokens": 4096}]`, 1},
		{"json max_tokens/1024", `max_tokens=4096`, 1},
		{"json max_tokens/1024", ``, 1},
		{"json n", `{"n": 7}`, 7},
		{"json n/0.5", `{"n": 1.2}`, 3},
		{"json options.num_predict/100", `{"options": {"a": {"num_predict": 900}, "num_predict": 250}, "num_predict": 900}`, 3},
		{"json options.num_predict/100", `{"options": 250}`, 1},
		{"json n", `{"a": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `, "n": 2}`, 2},
	} {
		rules, err := New(Options{Cost: test.option}, offloader.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		for name, body := range map[string]io.Reader{
			"whole": strings.NewReader(test.body), "byte by byte": iotest.OneByteReader(strings.NewReader(test.body)),
		} {
			if got := rules.CostOf(body); got != test.want {
				t.Errorf("%s of %.60q, %s: got %d, want %d", test.option, test.body, name, got, test.want)
			}
		}
	}
}

// No more than MaxScan of a body is read.
func TestBodiesAreReadInPart(t *testing.T) {
	t.Parallel()
	rules, err := New(Options{Cost: "json n"}, offloader.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	space := func(n int) io.Reader { return io.LimitReader(spaces{}, int64(n)) }
	for size, want := range map[int]int{MaxScan - 10: 5, MaxScan: 1} {
		body := io.MultiReader(strings.NewReader("{"), space(size), strings.NewReader(`"n":5}`))
		if got := rules.CostOf(body); got != want {
			t.Errorf("behind %d spaces: got %d, want %d", size, got, want)
		}
	}
}

type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// A scan keeps no value of the body.
func TestScansKeepNothing(t *testing.T) {
	body := `{"messages":"` + strings.Repeat("word ", 1<<20) + `","max_tokens":4096}`
	rules, err := New(Options{Cost: "json max_tokens/1024"}, offloader.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	result := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			rules.CostOf(strings.NewReader(body))
		}
	})
	if got := result.AllocedBytesPerOp(); got > 16<<10 {
		t.Errorf("a scan of %d bytes allocates %d", len(body), got)
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	settings := offloader.Settings{
		Fair: true, KeyName: "{tenant}",
		Classes: []offloader.Class{{Name: "interactive", Weight: 8}, {Name: "normal", Weight: 4}, {Name: "batch", Weight: 1}},
	}
	client := offloader.Client{Address: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 1}}
	for name, test := range map[string]struct {
		options Options
		tenant  string
		want    offloader.Claim
	}{
		"of the pool":         {Options{}, "blue", offloader.Claim{Key: "blue", Class: "normal", Cost: 1}},
		"without a key":       {Options{}, "", offloader.Claim{Key: "10.0.0.1", Class: "normal", Cost: 1}},
		"of an address":       {Options{}, "2001:db8:1:2:3::4", offloader.Claim{Key: "2001:db8:1:2::/64", Class: "normal", Cost: 1}},
		"of a route":          {Options{Class: "batch", Key: "x-{tenant}", Cost: "3"}, "blue", offloader.Claim{Key: "x-blue", Class: "batch", Cost: 3}},
		"of placeholders":     {Options{Class: "{tenant}", Cost: "{tenant}"}, "batch", offloader.Claim{Key: "batch", Class: "batch", Cost: 1}},
		"of a number":         {Options{Class: "{tenant}", Cost: "{tenant}"}, "2.5", offloader.Claim{Key: "2.5", Class: "normal", Cost: 3}},
		"of a negative one":   {Options{Cost: "{tenant}"}, "-2", offloader.Claim{Key: "-2", Class: "normal", Cost: 1}},
		"of no number at all": {Options{Cost: "{tenant}"}, "NaN", offloader.Claim{Key: "NaN", Class: "normal", Cost: 1}},
		"of a long text": {
			Options{},
			strings.Repeat("x", 1000),
			offloader.Claim{Key: "44f8354494a5ba03ba1792a8d3e9c534c47a9181980fde7a3f44b06ef2ae7c7f", Class: "normal", Cost: 1},
		},
	} {
		rules, err := New(test.options, settings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		repl := caddy.NewEmptyReplacer()
		repl.Set("tenant", test.tenant)
		if got := *rules.Of(repl, client); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
	if rules, err := New(Options{Cost: "1"}, offloader.DefaultSettings()); rules != nil || err != nil {
		t.Errorf("got %v, %v for a route without claims", rules, err)
	}
}

// The first class is the default one where no class has its name.
func TestDefaultClass(t *testing.T) {
	t.Parallel()
	rules, err := New(Options{}, offloader.Settings{Classes: []offloader.Class{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := rules.Of(caddy.NewEmptyReplacer(), offloader.Client{}); *got != (offloader.Claim{Class: "a", Cost: 1}) {
		t.Errorf("got %+v", got)
	}
}

// A key that is an address is kept by that, other keys by a hash that is no address of a
// client.
func TestAddressesOfKeys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"10.0.0.1", "2001:db8:1:2::/64"} {
		host, _, _ := strings.Cut(key, "/")
		if want, _ := requests.AddressOf(host); Address(key) != want {
			t.Errorf("%s: got %v, want %v", key, Address(key), want)
		}
	}
	seen := map[[16]byte]string{}
	for _, key := range []string{"a", "b", "10.0.0.1/64", "10.0.0.1/x", "2001:db8::/32", "10.0.0.1", "a/b"} {
		a := Address(key)
		if other, ok := seen[a]; ok || a != Address(key) {
			t.Errorf("%s and %s are kept by %v", key, other, a)
		}
		seen[a] = key
	}
}
