package admin

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/adminroute"
)

// The document has the paths and methods that there are, and no others.
func TestDocumentOfAdminEndpoint(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documented, served := map[string][]string{}, map[string][]string{}
	for path, item := range doc.Paths.Map() {
		if segment, _, _ := strings.Cut(strings.TrimPrefix(path, adminroute.Prefix), "/"); segment == "jobs" {
			continue // those of the plugin for jobs
		}
		documented[path] = slices.Sorted(maps.Keys(item.Operations()))
	}
	for path, methods := range endpoints {
		served[adminroute.Prefix+path] = slices.Sorted(maps.Keys(methods))
	}
	if !maps.EqualFunc(documented, served, slices.Equal) {
		t.Errorf("the document has %v, the endpoint %v", documented, served)
	}
}
