//go:build unix

package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitMQ is a virtual host of a server with a name service of its own.
type RabbitMQ struct {
	*process
	// Addr is where it listens.
	Addr string

	vhost string
	names *process // epmd, which would start by itself otherwise, and stay
	node  string
}

// StartRabbitMQ starts a server that ends with its owner, and returns the virtual
// host that it has from its start.
func StartRabbitMQ(t Owner) *RabbitMQ {
	t.Helper()
	data, port, namePort := folder(t, "rabbitmq"), Port(t), Port(t)
	r := &RabbitMQ{Addr: net.JoinHostPort("127.0.0.1", port), node: "lab" + port + "@localhost", vhost: "/"}
	if err := os.WriteFile(filepath.Join(data, "plugins"), []byte("[].\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.names = &process{
		t: t, name: "epmd", path: program(t, "epmd"), args: []string{"-address", "127.0.0.1", "-port", namePort},
		up: func(ctx context.Context) error { return connects(ctx, net.JoinHostPort("127.0.0.1", namePort)) },
	}
	t.Cleanup(r.names.Kill)
	r.names.start()
	r.process = &process{
		t: t, name: "rabbitmq-server", path: program(t, "/usr/lib/rabbitmq/bin/rabbitmq-server"), dir: data, up: r.open,
		env: []string{
			"HOME=" + data, // for its cookie
			"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + namePort,
			"RABBITMQ_NODENAME=" + r.node,
			"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + port, "RABBITMQ_DIST_PORT=" + Port(t),
			"RABBITMQ_MNESIA_BASE=" + data, "RABBITMQ_LOG_BASE=" + data, "RABBITMQ_LOGS=-",
			"RABBITMQ_CONFIG_FILE=" + filepath.Join(data, "none"), "RABBITMQ_CONF_ENV_FILE=" + filepath.Join(data, "none"),
			"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(data, "plugins"),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
		},
	}
	t.Cleanup(r.Kill)
	r.start()
	return r
}

// virtualHosts makes other virtual hosts on the server, all with one command, since
// a command takes seconds.
func (r *RabbitMQ) virtualHosts(n int) []*RabbitMQ {
	r.t.Helper()
	const each = `rabbit_vhost:add(V, <<"lab">>), rabbit_auth_backend_internal:set_permissions(` +
		`<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"lab">>)`
	r.control("eval", fmt.Sprintf(`[begin %s end || N <- lists:seq(0, %d), V <- [<<"guest", (integer_to_binary(N))/binary>>]].`, each, n-1))
	all := make([]*RabbitMQ, n)
	for i := range all {
		other := *r
		other.vhost = fmt.Sprint("guest", i)
		all[i] = &other
	}
	return all
}

// Settle makes sure that the queues there are now outlive a crash. The server has
// confirmed them, but notes for up to two seconds in memory alone that it did.
func (r *RabbitMQ) Settle() {
	r.t.Helper()
	r.control("eval", "mnesia:dump_log().")
}

// URL of the virtual host.
func (r *RabbitMQ) URL() string { return r.URLAt(r.Addr, "guest:guest") }

// URLAt is the URL for a user who goes through a proxy.
func (r *RabbitMQ) URLAt(addr, user string) string {
	return "amqp://" + user + "@" + addr + "/" + r.vhost
}

func connects(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// open reports whether the server takes messages. Before it says so itself, what
// listens there may be something else.
func (r *RabbitMQ) open(ctx context.Context) error {
	if !strings.Contains(r.Log(), "Server startup complete") {
		return errNotYet
	}
	if err := connects(ctx, r.Addr); err != nil {
		return err
	}
	conn, err := amqp.DialConfig(r.URL(), amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return fmt.Errorf("%w: %w", errNotYet, err)
	}
	return nil
}

// Channel returns a channel of a connection of its own, which ends with the test.
func (r *RabbitMQ) Channel(t testing.TB) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

// Permit creates a user and says what it may do, as rabbitmqctl takes it.
func (r *RabbitMQ) Permit(user, password, configure, write, read string) {
	r.t.Helper()
	r.control("add_user", user, password)
	r.control("set_permissions", "-p", r.vhost, user, configure, write, read)
}

func (r *RabbitMQ) control(args ...string) {
	r.t.Helper()
	cmd := exec.Command(program(r.t, "/usr/lib/rabbitmq/bin/rabbitmqctl"), append([]string{"-n", r.node}, args...)...)
	cmd.Env = append(os.Environ(), r.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("rabbitmqctl %v: %v\n%s", args, err, out)
	}
}
