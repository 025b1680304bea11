package services

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// RabbitMQ is a broker with the daemon where Erlang nodes look up each other's
// ports. A daemon on the usual port could belong to other brokers, and would stay.
type RabbitMQ struct {
	*Server // the broker

	names *Server
	ports Ports
	env   []string
}

// node is the broker's name at the daemon, which has no other nodes.
const node = "offload@localhost"

// rabbitFarewell is the time limit for the end of a broker on a busy machine.
const rabbitFarewell = time.Minute

// StartRabbitMQ starts a broker on addr with the user guest, as after an
// installation.
func StartRabbitMQ(ctx context.Context, addr, folder string) (*RabbitMQ, error) {
	r := &RabbitMQ{}
	err := r.start(ctx, addr, folder)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting RabbitMQ: %w", err), r.Close())
	}
	return r, nil
}

func (r *RabbitMQ) start(ctx context.Context, addr, folder string) error {
	names, err := r.ports.Take()
	if err != nil {
		return err
	}
	dist, err := r.ports.Take()
	if err != nil {
		return err
	}
	if r.env, err = rabbitEnvironment(folder, addr, names, dist); err != nil {
		return err
	}
	// The node looks for the daemon once, when it starts.
	r.names, err = StartServer(ctx, Program{
		Name: "epmd", Args: []string{"epmd"}, Env: r.env, Log: filepath.Join(folder, "epmd.log"), Package: "rabbitmq-server",
	}, Listening(names))
	if err != nil {
		return err
	}
	broker := Program{
		Name: "RabbitMQ",
		Args: []string{rabbitCommand("rabbitmq-server")},
		Env:  r.env,
		Dir:  folder,
		Log:  filepath.Join(folder, "rabbitmq.log"),

		Package:  "rabbitmq-server",
		Farewell: rabbitFarewell,
	}
	r.Server, err = StartServer(ctx, broker, func(ctx context.Context) error {
		// Until the broker reports that it listens, another server may listen on
		// the port.
		if !strings.Contains(logOf(broker), "Server startup complete") {
			return errWrongAnswer
		}
		return greet(ctx, addr, "AMQP\x00\x00\x09\x01", "\x01\x00\x00")
	})
	return err
}

// Control runs a command of rabbitmqctl.
func (r *RabbitMQ) Control(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, rabbitCommand("rabbitmqctl"), append([]string{"-n", node}, args...)...)
	cmd.Env = append(os.Environ(), r.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rabbitmqctl %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// Close ends broker and daemon.
func (r *RabbitMQ) Close() error {
	var errs []error
	for _, server := range []*Server{r.Server, r.names} {
		if server != nil && server.process != nil {
			errs = append(errs, server.Stop())
		}
	}
	r.ports.Release()
	return errors.Join(errs...)
}

// rabbitCommand bypasses Debian's wrapper, which runs as the user rabbitmq and in
// that user's home.
func rabbitCommand(name string) string {
	if path, err := exec.LookPath("/usr/lib/rabbitmq/bin/" + name); err == nil {
		return path
	}
	return name
}

// rabbitEnvironment restricts the broker to its folder and to the loopback
// interface.
func rabbitEnvironment(folder, addr, names, dist string) ([]string, error) {
	in := func(name string) string { return filepath.Join(folder, name) }
	env := []string{
		"HOME=" + folder, // for the cookie
		"ERL_EPMD_ADDRESS=" + Loopback,
		"RABBITMQ_NODE_IP_ADDRESS=" + Loopback,
		// Idle schedulers sleep, because other processes need the cores.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
		"RABBITMQ_MNESIA_BASE=" + in("mnesia"),
		"RABBITMQ_LOG_BASE=" + in("log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_CONF_ENV_FILE=" + in("no-env.conf"),
		"RABBITMQ_CONFIG_FILE=" + in("no-config"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("no-advanced-config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("no-plugins"),
		"RABBITMQ_PID_FILE=" + in("pid"),
		// The starting process then becomes the broker instead of waiting for it.
		"RUNNING_UNDER_SYSTEMD=true",
	}
	for name, at := range map[string]string{"RABBITMQ_NODE_PORT": addr, "ERL_EPMD_PORT": names, "RABBITMQ_DIST_PORT": dist} {
		_, port, err := net.SplitHostPort(at)
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+port)
	}
	return append(env, "RABBITMQ_NODENAME="+node), nil
}
