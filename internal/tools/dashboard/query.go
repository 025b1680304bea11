package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// query is one line of one panel.
type query struct{ panel, expr string }

// dashboard has the fields of a dashboard that the check uses.
type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	Title   string  `json:"title"`
	Type    string  `json:"type"`
	Panels  []panel `json:"panels"` // of a row
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

type variable struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Definition string `json:"definition"`
}

// variables are the values that Grafana would insert: all pools, and a rate
// over some scrapes.
var variables = strings.NewReplacer("$pool", ".*", "$__rate_interval", rateInterval)

// queriesOf lists the queries of a dashboard. A panel without a query and a
// variable without a value are errors.
func queriesOf(text []byte) ([]query, error) {
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("reading the dashboard: %w", err)
	}
	var queries []query
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		metric, _, ok := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ",")
		if !ok {
			return nil, fmt.Errorf("variable %s: '%s' is no list of label values", v.Name, v.Definition)
		}
		queries = append(queries, query{"variable " + v.Name, metric})
	}
	for _, p := range flat(d.Panels) {
		if p.Type != "row" && len(p.Targets) == 0 {
			return nil, fmt.Errorf("panel '%s' asks nothing", p.Title)
		}
		for _, t := range p.Targets {
			expr := variables.Replace(t.Expr)
			if strings.Contains(expr, "$") {
				return nil, fmt.Errorf("panel '%s': unknown variable in %s", p.Title, expr)
			}
			queries = append(queries, query{p.Title, expr})
		}
	}
	if len(queries) == 0 {
		return nil, errors.New("the dashboard has no queries")
	}
	return queries, nil
}

// flat lists the panels, those in collapsed rows included.
func flat(panels []panel) []panel {
	var all []panel
	for _, p := range panels {
		all = append(all, p)
		all = append(all, flat(p.Panels)...)
	}
	return all
}
