package admin

import (
	"maps"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// The document has the paths and methods that there are, and no others.
func TestDocumentOfAdminEndpoint(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documented, served := map[string][]string{}, map[string][]string{}
	for path, item := range doc.Paths.Map() {
		documented[path] = slices.Sorted(maps.Keys(item.Operations()))
	}
	for _, e := range endpoints {
		served[adminPrefix+e.path] = slices.Sorted(maps.Keys(e.methods))
	}
	if !maps.EqualFunc(documented, served, slices.Equal) {
		t.Errorf("the document has %v, the endpoint %v", documented, served)
	}
}
