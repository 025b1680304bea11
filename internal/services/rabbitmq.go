package services

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// RabbitMQ is a broker, and the daemon where Erlang nodes look each other's
// ports up: the one on the usual port might belong to others, and would stay.
type RabbitMQ struct {
	names, broker *Process
}

// StartRabbitMQ starts a broker on addr with the user guest, as it is when new.
func StartRabbitMQ(ctx context.Context, addr, folder string) (*RabbitMQ, error) {
	names, dist, err := twoAddresses()
	if err != nil {
		return nil, fmt.Errorf("starting RabbitMQ: %w", err)
	}
	env, err := rabbitEnvironment(folder, addr, names, dist)
	if err != nil {
		return nil, fmt.Errorf("starting RabbitMQ: %w", err)
	}
	r := &RabbitMQ{}
	r.names, err = Start(Program{Name: "epmd", Args: []string{"epmd"}, Env: env, Log: filepath.Join(folder, "epmd.log"), Package: "rabbitmq-server"})
	if err != nil {
		return nil, err
	}
	// The node looks for it once, when it starts.
	r.names, err = ready(ctx, r.names, Listening(names))
	if err != nil {
		return nil, err
	}
	r.broker, err = Start(Program{
		Name: "RabbitMQ",
		Args: []string{rabbitCommand()},
		Env:  env,
		Dir:  folder,
		Log:  filepath.Join(folder, "rabbitmq.log"),

		Package: "rabbitmq-server",
	})
	if err == nil {
		r.broker, err = ready(ctx, r.broker, func(ctx context.Context) error {
			return greet(ctx, addr, "AMQP\x00\x00\x09\x01", "\x01\x00\x00")
		})
	}
	if err != nil {
		return nil, errors.Join(err, r.names.Stop())
	}
	return r, nil
}

// Stop ends broker and daemon.
func (r *RabbitMQ) Stop() error { return errors.Join(r.broker.Stop(), r.names.Stop()) }

// rabbitCommand goes past Debian's wrapper, which runs as the user rabbitmq and
// in that user's home.
func rabbitCommand() string {
	const packaged = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if path, err := exec.LookPath(packaged); err == nil {
		return path
	}
	return "rabbitmq-server"
}

// twoAddresses are for the daemon and for what nodes have to say to each other.
func twoAddresses() (names, dist string, err error) {
	var ports Ports
	defer ports.Release()
	names, err = ports.Take()
	dist, err2 := ports.Take()
	return names, dist, errors.Join(err, err2)
}

// rabbitEnvironment keeps the broker to its folder and to the loopback interface.
func rabbitEnvironment(folder, node, names, dist string) ([]string, error) {
	in := func(name string) string { return filepath.Join(folder, name) }
	env := []string{
		"HOME=" + folder, // for the cookie
		"ERL_EPMD_ADDRESS=" + Loopback,
		"RABBITMQ_NODE_IP_ADDRESS=" + Loopback,
		// Its schedulers sleep when there is nothing to do: others want the cores.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
		"RABBITMQ_MNESIA_BASE=" + in("mnesia"),
		"RABBITMQ_LOG_BASE=" + in("log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_CONF_ENV_FILE=" + in("no-env.conf"),
		"RABBITMQ_CONFIG_FILE=" + in("no-config"),
		"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("no-advanced-config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("no-plugins"),
		"RABBITMQ_PID_FILE=" + in("pid"),
		// Its starter then becomes the broker instead of waiting for it.
		"RUNNING_UNDER_SYSTEMD=true",
	}
	for name, addr := range map[string]string{"RABBITMQ_NODE_PORT": node, "ERL_EPMD_PORT": names, "RABBITMQ_DIST_PORT": dist} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		env = append(env, name+"="+port)
	}
	return append(env, fmt.Sprintf("RABBITMQ_NODENAME=offload-%d@localhost", os.Getpid())), nil
}
