package requests

import (
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Clients are distinguished by their address, and by their network if they choose their
// address in it.
func TestClientOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		one, other string
		same       bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		one, other := clientAt(test.one, "1"), clientAt(test.other, "2")
		if one.Address == ([16]byte{}) || one.Connection != 1 || other.Connection != 2 {
			t.Errorf("%s and %s: %v and %v", test.one, test.other, one, other)
		}
		if same := one.Address == other.Address; same != test.same {
			t.Errorf("%s and %s are the same: %v", test.one, test.other, same)
		}
	}
	for _, none := range []string{"", "@", "/run/socket", "example.com"} {
		if got := clientAt(none, "80"); got != (offloader.Client{}) {
			t.Errorf("'%s' is %v", none, got)
		}
	}
}
