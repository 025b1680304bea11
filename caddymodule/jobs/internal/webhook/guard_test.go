package webhook_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/webhook"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// notPublic are addresses of each kind that a client must not reach through this server.
var notPublic = map[string][]string{
	"this host":          {"0.0.0.0", "0.1.2.3", "::"},
	"loopback":           {"127.0.0.1", "127.255.255.254", "::1"},
	"private":            {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"},
	"link-local":         {"169.254.169.254", "169.254.0.1", "fe80::1", "febf::1"},
	"site-local":         {"fec0::1"},
	"carriers' NAT":      {"100.64.0.1", "100.127.255.255"},
	"multicast":          {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"},
	"reserved":           {"240.0.0.1", "255.255.255.255", "4000::1", "100::1", "5f00::1"},
	"documentation":      {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"},
	"benchmarks":         {"198.18.0.1", "198.19.255.255", "2001:2::1"},
	"protocols":          {"192.0.0.1", "192.0.0.170", "2001:10::1", "2001:20::1"},
	"mapped":             {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0.0.0.0"},
	"translated":         {"::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"},
	"compatible":         {"::127.0.0.1", "::8.8.8.8"},
	"NAT64":              {"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::0.0.0.0"},
	"NAT64 of a network": {"64:ff9b:1::1", "64:ff9b:1::8.8.8.8"},
	"6to4":               {"2002:7f00:1::1", "2002:a00:1::", "2002:808:808::1", "192.88.99.1"},
	"Teredo":             {"2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe"},
	"this machine":       {"93.184.216.34", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "2606:2800:220:1::1"},
	"upper case":         {"::FFFF:127.0.0.1", "FE80::1"},
}

// public are addresses next to those.
var public = []string{
	"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
	"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
	"2001:200::1", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700::1111", "3ffe::1",
	"64:ff9b::1.1.1.1", "::ffff:1.1.1.1",
}

// ownAddresses are those of the machine in these tests.
var ownAddresses = []net.Addr{
	&net.IPNet{IP: net.IPv4(93, 184, 216, 34), Mask: net.CIDRMask(24, 32)},
	&net.IPNet{IP: net.ParseIP("2606:2800:220:1::1"), Mask: net.CIDRMask(64, 128)},
}

// hookTo hands in a job whose client names an address as its endpoint.
func hookTo(s *webhook.Sender, addr string) error {
	host := addr
	if strings.Contains(addr, ":") {
		host = "[" + addr + "]"
	}
	_, err := s.Hook(http.Header{"Callback": {"https://" + host + "/"}})
	return err
}

func TestOnlyPublicAddresses(t *testing.T) {
	s := open(t, anyHost())
	s.PretendOwn(ownAddresses, nil)
	for kind, addrs := range notPublic {
		for _, addr := range addrs {
			if hookTo(s, addr) == nil {
				t.Errorf("%s: a client can name %s", kind, addr)
			}
			want := jobs.Delivery{Error: "url"}
			host := addr
			if strings.Contains(addr, ":") {
				host = "[" + addr + "]"
			}
			if got := s.Deliver(t.Context(), ended("https://"+host+"/")); got != want {
				t.Errorf("%s: a message to %s: %+v", kind, addr, got)
			}
		}
	}
	for _, addr := range public {
		if err := hookTo(s, addr); err != nil {
			t.Errorf("a client cannot name %s: %s", addr, err)
		}
	}
}

// A name leads to an address only when the sender connects: each kind must be found there too.
func TestOnlyPublicAddressesOfNames(t *testing.T) {
	s := open(t, anyHost())
	s.PretendOwn(ownAddresses, nil)
	for kind, addrs := range notPublic {
		for _, addr := range addrs {
			ip := net.ParseIP(addr).To4()
			if ip == nil || strings.Contains(addr, ":") {
				continue // the names of these tests have addresses of version 4
			}
			s.UseResolver(names(func() string { return addr }))
			want := jobs.Delivery{Error: "address"}
			if got := s.Deliver(t.Context(), ended("https://hook.test/")); got != want {
				t.Errorf("%s: a message to a name of %s: %+v", kind, addr, got)
			}
		}
	}
}

func TestNoAddressIsPublicWhileTheOwnOnesAreUnknown(t *testing.T) {
	s := open(t, anyHost())
	s.PretendOwn(nil, errors.New("no"))
	if hookTo(s, "1.1.1.1") == nil {
		t.Error("a client can name an address that may be the machine's")
	}
}

// A name may lead to a public address first, when it is looked at, and to another one when the
// message is sent (DNS rebinding).
func TestEachConnectionIsChecked(t *testing.T) {
	endpoint := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	c := to(endpoint)
	s := open(t, c)
	for i, try := range []struct {
		addr string
		want jobs.Delivery
	}{
		{"127.0.0.1", jobs.Delivery{Delivered: true}}, // as allow_private says
		{"127.0.0.2", jobs.Delivery{Error: "address"}},
		{"127.0.0.1", jobs.Delivery{Delivered: true}},
	} {
		s.UseResolver(names(func() string { return try.addr }))
		if got := s.Deliver(t.Context(), ended(c.URL)); got != try.want {
			t.Errorf("try %d, to %s: %+v, want %+v", i, try.addr, got, try.want)
		}
	}
}

func TestPrivateNetworksAreAllowedExplicitly(t *testing.T) {
	endpoint := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := to(endpoint)
	if got := deliver(t, c); !got.Delivered {
		t.Errorf("with allow_private: %+v", got)
	}
	c.AllowPrivate = []string{"10.0.0.0/8"}
	if got, want := deliver(t, c), (jobs.Delivery{Error: "address"}); got != want {
		t.Errorf("with allow_private for another network: %+v, want %+v", got, want)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	endpoint := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer endpoint.Close()
	endpoint.Config.ErrorLog = quiet
	c := to(endpoint)
	_, port, _ := net.SplitHostPort(endpoint.Listener.Addr().String())
	for host, want := range map[string]jobs.Delivery{
		"example.com": {Delivered: true},
		"hook.test":   {Error: "tls"}, // the certificate has another name
	} {
		c.URL = "https://" + host + ":" + port + "/"
		s := open(t, c)
		if got, want := s.Deliver(t.Context(), ended(c.URL)), (jobs.Delivery{Error: "tls"}); got != want {
			t.Errorf("%s, an unknown authority: %+v, want %+v", host, got, want)
		}
		s.Close()
		s.TrustRoots(endpoint.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
		if got := s.Deliver(t.Context(), ended(c.URL)); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}
