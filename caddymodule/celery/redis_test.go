package celery_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest/redistest"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// certificate makes one for 127.0.0.1 that signs itself, in files.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert},
		keyFile:  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// redisLab is a Redis with a worker that knows lab.echo. It calls heard, unless that is nil,
// with each command.
func redisLab(t *testing.T, heard func(celery.Command)) *redistest.Server {
	t.Helper()
	server := redistest.NewServer(t)
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: celeryredis.Server{URL: server.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: celeryredis.Server{URL: server.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	system := redistest.NewSystem(t, redistest.Options{URL: server.URL(), Broker: broker, Backend: backend, Interrupt: func() {}})
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() { _ = celerytest.Work(ctx, system, "celery", celerytest.Echo) })
	}
	busy.Go(func() {
		_ = system.Commands(ctx, "w1@lab", func(c celery.Command) []byte {
			if heard != nil {
				heard(c)
			}
			return []byte(map[string]string{
				"ping": `{"w1@lab": {"ok": "pong"}}`, "registered": `{"w1@lab": ["lab.echo"]}`,
				"active_queues": `{"w1@lab": [{"name": "celery"}]}`,
			}[c.Method])
		})
	})
	t.Cleanup(func() {
		cancel()
		busy.Wait()
		_ = system.Close()
	})
	workers := celery.NewWorkers(broker)
	testkit.Eventually(t, func() bool {
		names, err := workers.Ping(ctx)
		return err == nil && len(names) > 0
	})
	return server
}

// many sends n requests at once and checks their responses.
func many(t *testing.T, s *site.Site, n int) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range s.Clients() {
		for i := range n {
			all.Go(func() {
				res, body := site.Get(t, c, fmt.Sprintf("https://%s/?n=%d", s.Addr, i))
				if res.StatusCode != 200 || body != fmt.Sprint(i) {
					t.Errorf("got %d %s, want %d", res.StatusCode, body, i)
				}
			})
		}
	}
	all.Wait()
}

// Requests reach a worker behind Redis and get their results, with both backends,
// on a number of connections that has nothing to do with theirs.
func TestRedis(t *testing.T) {
	server := redisLab(t, nil)
	for name, backend := range map[string]string{"redis": "redis://PROXY", "rpc": "rpc://", "poll": "redis://PROXY\npoll"} {
		t.Run(name, func(t *testing.T) {
			proxy := celerytest.NewProxy(t, server.Addr())
			words := strings.ReplaceAll("broker redis://PROXY\nbackend "+backend, "PROXY", proxy.Addr())
			s := site.Serve(t, nil, "celery {\n"+words+"\nconnections 4\ntask lab.echo\nargs int({query.n})\n}")
			if n := proxy.Accepted(); n != 0 {
				t.Errorf("%d connections before a request", n)
			}
			many(t, s, 30)
			// Commands of both, results, and heartbeats.
			if n := proxy.Connections(); n < 3 || n > 4+4+1+1 {
				t.Errorf("%d connections", n)
			}
			s.Load("respond bye")
			testkit.Eventually(t, func() bool { return proxy.Connections() == 0 })
		})
	}
}

// An unreachable server is a failure at once.
func TestServersThatAreNotThere(t *testing.T) {
	addr := site.FreeAddr(t)
	for _, words := range []string{
		"broker redis://" + addr + "\nbackend redis://" + addr,
		"broker redis://" + addr + "\nbackend rpc://\nworker_check off\ntask_check off",
		"broker amqp://" + addr + "\nbackend rpc://",
		"broker amqp://" + addr + "\nbackend redis://" + addr + "\nworker_check off\ntask_check off",
	} {
		s := site.Serve(t, nil, "celery {\n"+words+"\nserver_timeout 200ms\ntask lab.echo\n}")
		began := time.Now()
		res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
		if wantRejection(t, res, body, "unavailable"); strings.Contains(body, addr) {
			t.Errorf("the address went out: %s", body)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s", words, took)
		}
	}
}

// Messages of the Redis client are logged at DEBUG.
func TestTheClientOfRedisLogs(t *testing.T) {
	addr, file := site.FreeAddr(t), filepath.Join(t.TempDir(), "log")
	s := site.ServeGlobal(t, nil, "log {\nlevel DEBUG\noutput file "+file+"\n}",
		"celery {\nbroker redis://"+addr+"\nbackend rpc://\ntask lab.echo\n}")
	res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr)
	wantRejection(t, res, body, "unavailable")
	testkit.Eventually(t, func() bool {
		return slices.ContainsFunc(site.Lines(file), func(line map[string]any) bool {
			text, _ := line["text"].(string)
			return line["logger"] == "celery.redis" && line["level"] == "debug" && strings.Contains(text, addr)
		})
	})
}

// The options configure TLS of the connections to servers.
func TestTLS(t *testing.T) {
	server := redisLab(t, nil)
	cert, key := certificate(t)
	addr := encrypt(t, server.Addr(), cert, key)
	for words, want := range map[string]int{
		"tls {\ntrusted_ca " + cert + "\n}":                         200,
		"tls {\ninsecure_skip_verify\n}":                            200,
		"tls {\ntrusted_ca " + cert + "\nserver_name other.test\n}": 503,
		"": 503,
	} {
		s := site.Serve(t, nil, "celery {\nbroker rediss://"+addr+"\nbackend "+server.URL()+"\n"+words+
			"\ntask lab.echo\nargs int({query.n})\nserver_timeout 2s\n}")
		res, body := site.Get(t, s.Clients()["h1"], "https://"+s.Addr+"/?n=7")
		if res.StatusCode != want {
			t.Errorf("%s: got %d %s", words, res.StatusCode, body)
		}
	}
}

// For a client, "optional" equals "required": a server without a valid certificate does not get
// the password.
func TestTLSOfTheURL(t *testing.T) {
	server := redisLab(t, nil)
	cert, key := certificate(t)
	addr := encrypt(t, server.Addr(), cert, key)
	for option, want := range map[string]int{
		"":                             503,
		"?ssl_cert_reqs=required":      503,
		"?ssl_cert_reqs=optional":      503,
		"?ssl_cert_reqs=CERT_OPTIONAL": 503,
		"?ssl_cert_reqs=none":          200,
	} {
		s := site.Serve(t, nil, "celery {\nbroker rediss://:secret@"+addr+"/0"+option+"\nbackend "+server.URL()+
			"\ntask lab.echo\nargs int({query.n})\nserver_timeout 2s\n}")
		s.EachVersion(func(t *testing.T, c *http.Client, url string) {
			res, body := site.Get(t, c, url+"/?n=7")
			if res.StatusCode != want || strings.Contains(body, "secret") {
				t.Errorf("%s: got %d %s", option, res.StatusCode, body)
			}
		})
	}
}

// encrypt listens with TLS and passes on to a server in the clear.
func encrypt(t *testing.T, to, certFile, keyFile string) (addr string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				clear, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer clear.Close()
				go func() { _, _ = io.Copy(clear, conn); clear.Close() }()
				_, _ = io.Copy(conn, clear)
			}()
		}
	}()
	return ln.Addr().String()
}
