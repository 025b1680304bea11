package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// withoutOffload returns a config without the app and the handlers named
// offload, at any depth, and otherwise unchanged.
func withoutOffload(config []byte) ([]byte, error) {
	return rewrite(config, func(tree map[string]any) {
		if apps, ok := tree["apps"].(map[string]any); ok {
			delete(apps, "offload")
		}
		strip(tree)
	})
}

// strip removes the handlers named offload from all lists below node, and
// returns node.
func strip(node any) any {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			node[key] = strip(child)
		}
	case []any:
		kept := []any{}
		for _, child := range node {
			if object, ok := child.(map[string]any); ok && object["handler"] == "offload" {
				continue
			}
			kept = append(kept, strip(child))
		}
		return kept
	}
	return node
}

// discreet returns a config that does not log errors of requests: in the
// scenes the clients report them.
func discreet(config []byte) ([]byte, error) {
	return rewrite(config, func(tree map[string]any) {
		defaultLog(tree)["exclude"] = []string{"http.log.error"}
	})
}

// domesticated returns a config without effect outside the demo: it logs
// errors only, listens on the loopback interface, and has a time limit for its
// end.
func domesticated(config []byte) ([]byte, error) {
	return rewrite(config, func(tree map[string]any) {
		defaultLog(tree)["level"] = "ERROR"
		http := object(object(tree, "apps"), "http")
		http["grace_period"] = 2 * time.Second
		for _, server := range object(http, "servers") {
			keepOnLoopback(server)
		}
	})
}

// keepOnLoopback restricts the server's ports that listen on all addresses to
// the loopback address.
func keepOnLoopback(server any) {
	settings, _ := server.(map[string]any)
	addresses, _ := settings["listen"].([]any)
	for i, address := range addresses {
		if text, ok := address.(string); ok && strings.HasPrefix(text, ":") {
			addresses[i] = "127.0.0.1" + text
		}
	}
}

func defaultLog(tree map[string]any) map[string]any {
	return object(object(object(tree, "logging"), "logs"), "default")
}

// object returns the object under key, which it creates if it is missing.
func object(parent map[string]any, key string) map[string]any {
	child, ok := parent[key].(map[string]any)
	if !ok {
		child = map[string]any{}
		parent[key] = child
	}
	return child
}

// rewrite changes a JSON config as a tree.
func rewrite(config []byte, change func(tree map[string]any)) ([]byte, error) {
	var tree map[string]any
	if err := json.Unmarshal(config, &tree); err != nil {
		return nil, fmt.Errorf("reading the adapted config: %w", err)
	}
	change(tree)
	return json.Marshal(tree)
}
