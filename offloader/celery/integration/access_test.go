//go:build integration

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

// rights are the least that the client needs on Redis, for tasks in the queue
// "celery" and all that can be known of workers.
const rights = "resetchannels resetkeys -@all " +
	"+lpush +llen +publish +subscribe +unsubscribe +psubscribe +punsubscribe +ping +select +hello +auth " +
	"+get +mget +strlen +sadd +srem +brpop +del " +
	"~celery ~celery\x06\x16* ~celery-task-meta-* ~_kombu.binding.reply.celery.pidbox ~*.reply.celery.pidbox " +
	"&celery-task-meta-* &/0.celery.pidbox &/0.celeryev/worker.*"

// TestRedisWithPasswordsAndRights: the least rights suffice, and the error names a missing one.
func TestRedisWithPasswordsAndRights(t *testing.T) {
	t.Parallel()
	c := combination{"redis", "redis"}
	p := newPlace(t, c)
	admin := p.redis.Client(t, 0)
	args := []any{"ACL", "SETUSER", "caddy", "on", ">p@ss/w:rd"}
	for right := range strings.FieldsSeq(rights) {
		args = append(args, right)
	}
	if err := admin.Do(p.ctx, args...).Err(); err != nil {
		t.Fatal(err)
	}
	p.startWorker(c, lab.WorkerOptions{})
	server := func(user string, db string) celeryredis.Server {
		return celeryredis.Server{URL: "redis://" + user + "@" + p.redisProxy.Addr() + "/" + db, Timeout: time.Second}
	}
	open := func(user string) (*celeryredis.Broker, *celery.Client) {
		broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: server(user, "0")})
		opened(t, broker, err)
		backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: server(user, "2")})
		return broker, celery.NewClient(broker, opened(t, backend, err), celery.Settings{})
	}
	t.Run("the least rights are enough", func(t *testing.T) {
		broker, client := open("caddy:p%40ss%2Fw%3Ard")
		result, err := client.Run(p.ctx, celery.Task{Name: "lab.factorial", Args: []any{5}, Priority: new(5)}, nil)
		if err != nil || string(result.Value) != "120" {
			t.Errorf("%s %v", result.Value, err)
		}
		p.cut() // forces a fetch of missed states
		result, err = client.Run(p.ctx, celery.Task{Name: "lab.sleep", Args: []any{0.2}, Idempotent: true}, nil)
		if err != nil || string(result.Value) != "0.2" {
			t.Errorf("%s %v", result.Value, err)
		}
		call, err := client.Attach(p.ctx, result.TaskID)
		if err != nil {
			t.Fatal(err)
		}
		call.Close()
		workers := celery.NewWorkers(broker)
		defer workers.Close()
		if err := workers.Ready(p.ctx, "celery"); err != nil {
			t.Error(err)
		}
		ctx, stop := context.WithCancel(p.ctx)
		done := make(chan struct{})
		go func() { defer close(done); workers.Follow(ctx) }()
		eventually(t, "a heartbeat", func() bool { return len(workers.Snapshot()) == 1 })
		stop()
		<-done
		client.Revoke(celery.NewID(), false)
		if err := client.Close(p.ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("and for replies, those of their lists", func(t *testing.T) {
		c := combination{"redis", "rpc"}
		if err := admin.Do(p.ctx, "ACL", "SETUSER", "caddy", "+lrange", "+brpoplpush", "~????????-????-????-????-????????????*").Err(); err != nil {
			t.Fatal(err)
		}
		p.startWorker(c, lab.WorkerOptions{Args: []string{"-Q", "replying"}})
		broker, _ := open("caddy:p%40ss%2Fw%3Ard")
		replies, err := celeryredis.OpenReplies(celeryredis.RepliesSettings{Server: server("caddy:p%40ss%2Fw%3Ard", "0")})
		client := celery.NewClient(broker, opened(t, replies, err), celery.Settings{Queue: "replying"})
		if err := admin.Do(p.ctx, "ACL", "SETUSER", "caddy", "~replying").Err(); err != nil {
			t.Fatal(err)
		}
		result, err := client.Run(p.ctx, celery.Task{Name: "lab.factorial", Args: []any{5}}, nil)
		if err != nil || string(result.Value) != "120" {
			t.Errorf("%s %v", result.Value, err)
		}
	})
	t.Run("a wrong password is an error", func(t *testing.T) {
		_, client := open("caddy:wrong")
		if _, err := client.Start(p.ctx, celery.Task{Name: "a"}); !errors.Is(err, celery.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Error(err)
		}
	})
	t.Run("a missing right is an error", func(t *testing.T) {
		if err := admin.Do(p.ctx, "ACL", "SETUSER", "caddy", "resetchannels").Err(); err != nil {
			t.Fatal(err)
		}
		_, client := open("caddy:p%40ss%2Fw%3Ard")
		// On a busy machine the first reply may come too late, which is an error too.
		eventually(t, "an error that names the right", func() bool {
			_, err := client.Start(p.ctx, celery.Task{Name: "a"})
			if err == nil || !errors.Is(err, celery.ErrUnavailable) {
				t.Fatal(err)
			}
			return strings.Contains(err.Error(), "NOPERM")
		})
	})
}

func TestRedisWithTLS(t *testing.T) {
	t.Parallel()
	folder, port := certificate(t), lab.Port(t)
	at := func(name string) string { return filepath.Join(folder, name) }
	redis := lab.StartRedis(t, "--tls-port", port, "--tls-cert-file", at("cert.pem"), "--tls-key-file", at("key.pem"),
		"--tls-ca-cert-file", at("cert.pem"), "--tls-auth-clients", "yes")
	lab.StartWorker(t, lab.WorkerOptions{Broker: redis.URL(0), Backend: redis.URL(0)})
	url := "rediss://127.0.0.1:" + port + "/0?ssl_cert_reqs=required&ssl_ca_certs=" + at("cert.pem") +
		"&ssl_certfile=" + at("cert.pem") + "&ssl_keyfile=" + at("key.pem")
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: celeryredis.Server{URL: url}})
	opened(t, broker, err)
	backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: celeryredis.Server{URL: url}})
	client := celery.NewClient(broker, opened(t, backend, err), celery.Settings{})
	if result, err := client.Run(t.Context(), celery.Task{Name: "lab.factorial", Args: []any{5}}, nil); err != nil || string(result.Value) != "120" {
		t.Errorf("%s %v", result.Value, err)
	}
	strict, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: celeryredis.Server{URL: "rediss://127.0.0.1:" + port}})
	opened(t, strict, err)
	if _, err := celery.NewClient(strict, nil, celery.Settings{}).Send(t.Context(), celery.Task{Name: "a"}); !errors.Is(err, celery.ErrUnavailable) {
		t.Errorf("a server without a trusted certificate: %v", err)
	}
}

// certificate makes one for the loopback that is its own authority.
func certificate(t *testing.T) (folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Sentinel names the master, also after that has changed.
func TestSentinel(t *testing.T) {
	t.Parallel()
	master := lab.StartRedis(t)
	_, masterPort, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := lab.StartRedis(t, "--replicaof", "127.0.0.1 "+masterPort)
	sentinel := lab.StartSentinel(t, "lab", master)
	url := "sentinel://" + sentinel.Addr + "/0"
	server := celeryredis.Server{URL: url, MasterName: "lab", Timeout: 2 * time.Second}
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{Server: server})
	opened(t, broker, err)
	backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: server})
	client := celery.NewClient(broker, opened(t, backend, err), celery.Settings{})
	lab.StartWorker(t, lab.WorkerOptions{Broker: url, Backend: url, Env: []string{"MASTER_NAME=lab"}})
	run := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := client.Run(ctx, celery.Task{Name: "lab.factorial", Args: []any{5}}, nil)
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a replica", func() bool { return sentinel.Replicas() == 1 })
	master.Kill()
	eventually(t, "another master", func() bool { return sentinel.Master() == replica.Addr })
	eventually(t, "an answer", func() bool { return run() == nil })
}

// The rights that a user of RabbitMQ needs: to configure, to write and to read.
const (
	configures = `^(caddy-offload\.replies\..*|celeryev.*|.*reply\.celery\.pidbox|celery\.pidbox)$`
	writes     = `^(caddy-offload\.replies\..*|celeryev.*|.*reply\.celery\.pidbox|celery\.pidbox|amq\.default)$`
	reads      = `^(caddy-offload\.replies\..*|celeryev.*|.*reply\.celery\.pidbox)$`
)

func TestRabbitMQWithTheLeastRights(t *testing.T) {
	t.Parallel()
	c := combination{"amqp", "rpc"}
	p := newPlace(t, c)
	p.rabbit.Permit("caddy", "p@ss/w:rd", configures, writes, reads)
	p.startWorker(c, lab.WorkerOptions{})
	server := celeryamqp.Server{URL: p.rabbit.URLAt(p.amqpProxy.Addr(), "caddy:p%40ss%2Fw%3Ard")}
	broker, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: server})
	opened(t, broker, err)
	backend, err := celeryamqp.OpenBackend(celeryamqp.BackendSettings{Server: server})
	client := celery.NewClient(broker, opened(t, backend, err), celery.Settings{})
	for range 2 {
		if result, err := client.Run(p.ctx, celery.Task{Name: "lab.factorial", Args: []any{5}, Idempotent: true}, nil); err != nil || string(result.Value) != "120" {
			t.Errorf("%s %v", result.Value, err)
		}
		p.cut()
	}
	workers := celery.NewWorkers(broker)
	defer workers.Close()
	ctx, stop := context.WithCancel(p.ctx)
	done := make(chan struct{})
	go func() { defer close(done); workers.Follow(ctx) }()
	eventually(t, "a heartbeat", func() bool { return len(workers.Snapshot()) == 1 })
	stop()
	<-done
	if err := workers.Ready(p.ctx, "celery"); err != nil {
		t.Error(err)
	}
	if slots, err := workers.Slots(p.ctx); slots != 4 || err != nil {
		t.Errorf("slots: %d %v", slots, err)
	}
	client.Revoke(celery.NewID(), false)
	if err := client.Close(p.ctx); err != nil {
		t.Error(err)
	}
}

func TestRabbitMQThatRefuses(t *testing.T) {
	t.Parallel()
	p := newPlace(t, combination{"amqp", "rpc"})
	for url, word := range map[string]string{
		p.rabbit.URLAt(p.amqpProxy.Addr(), "guest:wrong"):      "403",
		"amqp://guest:guest@" + p.amqpProxy.Addr() + "/absent": "vhost",
	} {
		server := celeryamqp.Server{URL: url}
		broker, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: server})
		opened(t, broker, err)
		backend, err := celeryamqp.OpenBackend(celeryamqp.BackendSettings{Server: server})
		opened(t, backend, err)
		_, err = celery.NewClient(broker, backend, celery.Settings{}).Start(p.ctx, celery.Task{Name: "a"})
		if !errors.Is(err, celery.ErrUnavailable) || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%v, want %s", err, word)
		}
		if _, err := broker.Queue(p.ctx, "celery"); !errors.Is(err, celery.ErrUnavailable) {
			t.Error(err)
		}
	}
}

// Names that are not Celery's own: a prefix for all keys of the broker, one for
// results, and another exchange for commands.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	env := []string{"BROKER_PREFIX=app1_", "RESULT_PREFIX=app1", "CONTROL_EXCHANGE=orders"}
	for _, c := range []combination{{"redis", "redis"}, {"amqp", "redis"}, {"redis", "rpc"}} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, c)
			var broker celery.Broker
			if c.broker == "amqp" {
				b, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: p.amqpServer(), ControlExchange: "orders"})
				broker = opened(t, b, err)
			} else {
				b, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{
					Server: p.redisServer(0), Prefix: "app1_", ControlExchange: "orders",
				})
				broker = opened(t, b, err)
			}
			var backend celery.Backend
			if c.backend == "rpc" {
				b, err := celeryredis.OpenReplies(celeryredis.RepliesSettings{Server: p.redisServer(0), Prefix: "app1_"})
				backend = opened(t, b, err)
			} else {
				b, err := celeryredis.OpenBackend(celeryredis.BackendSettings{
					Server: p.redisServer(resultDB), Prefix: "app1_celery-task-meta-",
				})
				backend = opened(t, b, err)
			}
			client := celery.NewClient(broker, backend, celery.Settings{})
			p.startWorker(c, lab.WorkerOptions{Env: env})
			if result, err := client.Run(p.ctx, celery.Task{Name: "lab.factorial", Args: []any{5}}, nil); err != nil || string(result.Value) != "120" {
				t.Errorf("%s %v", result.Value, err)
			}
			workers := celery.NewWorkers(broker)
			defer workers.Close()
			if names, err := workers.Ping(p.ctx); len(names) != 1 || err != nil {
				t.Errorf("workers: %v %v", names, err)
			}
		})
	}
}

// Results that are not JSON are an error at once.
func TestResultsInAnotherSerializer(t *testing.T) {
	t.Parallel()
	for _, c := range []combination{{"redis", "redis"}, {"redis", "rpc"}, {"amqp", "rpc"}} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c, lab.WorkerOptions{Env: []string{"RESULT_SERIALIZER=pickle"}}, celery.Settings{})
			if _, err := b.run("lab.factorial", 5); !errors.Is(err, celery.ErrUnreadable) {
				t.Error(err)
			}
		})
	}
}

// A server without subscriptions is polled.
func TestPolling(t *testing.T) {
	t.Parallel()
	c := combination{"redis", "redis"}
	p := newPlace(t, c)
	p.startWorker(c, lab.WorkerOptions{})
	backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{Server: p.redisServer(resultDB), Poll: true})
	client := celery.NewClient(p.openBroker(c), opened(t, backend, err), celery.Settings{})
	failed := make(chan error, 200)
	many(50, func(int) {
		for range 4 {
			_, err := client.Run(p.ctx, celery.Task{Name: "lab.factorial", Args: []any{5}}, nil)
			failed <- err
		}
	})
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
