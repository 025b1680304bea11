//go:build unix

package lab

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// RabbitMQ is a virtual host of a server.
type RabbitMQ struct {
	*server
	// Addr is the address that it listens on.
	Addr string

	vhost  string
	broker *services.RabbitMQ
}

// StartRabbitMQ starts a server that ends with its owner, and returns the virtual
// host that the server has from its start.
func StartRabbitMQ(t Owner) *RabbitMQ {
	t.Helper()
	addr := address(t)
	ctx, cancel := starting()
	defer cancel()
	broker, err := services.StartRabbitMQ(ctx, addr, folder(t, "rabbitmq"))
	if err != nil {
		t.Fatalf("%v (has .ci/celery been run?)", err)
	}
	t.Cleanup(func() {
		broker.Kill() // quicker than asking it to stop
		_ = broker.Close()
	})
	return &RabbitMQ{&server{broker.Server, t}, addr, "/", broker}
}

// virtualHosts creates additional virtual hosts on the server, all with one
// command, because a command takes seconds.
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

// Settle makes the existing queues outlive a crash. The server has confirmed them,
// but its log may not have the confirmation yet; then a restart loses them.
func (r *RabbitMQ) Settle() {
	r.t.Helper()
	r.control("eval", "mnesia:dump_log().")
}

// URL of the virtual host.
func (r *RabbitMQ) URL() string { return r.URLAt(r.Addr, "guest:guest") }

// URLAt is the URL for a user that connects through a proxy.
func (r *RabbitMQ) URLAt(addr, user string) string {
	return "amqp://" + user + "@" + addr + "/" + r.vhost
}

// Channel returns a channel of a separate connection, which ends with the test.
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

// Permit creates a user with permissions in the form of rabbitmqctl.
func (r *RabbitMQ) Permit(user, password, configure, write, read string) {
	r.t.Helper()
	r.control("add_user", user, password)
	r.control("set_permissions", "-p", r.vhost, user, configure, write, read)
}

func (r *RabbitMQ) control(args ...string) {
	r.t.Helper()
	ctx, cancel := starting()
	defer cancel()
	if err := r.broker.Control(ctx, args...); err != nil {
		r.t.Fatal(err)
	}
}
