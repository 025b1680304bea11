package peers

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-offload/caddy-offload/bench/internal/hall"
	"github.com/caddy-offload/caddy-offload/bench/internal/stat"
	"github.com/caddy-offload/caddy-offload/offloader"
)

var (
	histories = flag.Int("histories", 1, "how many random histories each scenario plays, with other keys each")
	keep      = flag.String("keep", "", "file that the tables are kept in")
)

// The places and the longest wait of both APF and this project.
const (
	places  = queues * queueLength
	maxWait = 10 * s
)

// peer is a column of the tables.
type peer struct {
	name string
	open func(permits, history int) hall.Gate
	few  bool // whether it has no model for many keys
}

// peers has this project first.
var peers = []peer{
	{name: "offload", open: func(permits, _ int) hall.Gate {
		return hall.Pool(offloader.Settings{Concurrency: permits, Queue: places, MaxWait: maxWait, Fair: true})
	}},
	{name: "APF", open: func(permits, history int) hall.Gate {
		return newAPF(permits, maxWait, fmt.Sprint("schema ", history))
	}},
	{name: "strides", few: true, open: func(permits, _ int) hall.Gate { return newStrides(permits) }},
}

// A modest client gets its share of a pool next to a greedy one. The other figures have no
// aim: they are there to be compared.
func TestPeers(t *testing.T) {
	text := head(t)
	for _, sc := range scenarios {
		text += "\n" + sc.table(t)
	}
	t.Log("\n" + text)
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// table plays the histories of a scenario and returns its table.
func (sc *scenario) table(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\n%-8s %-18s", sc.title, "permits", "")
	for _, peer := range peers {
		fmt.Fprintf(&text, " %20s", peer.name)
	}
	text.WriteString("\n")
	for _, permits := range sc.permits {
		results := sc.play(t, permits)
		for i, f := range sc.figures {
			fmt.Fprintf(&text, "%-8d %-18s", permits, f.name)
			for _, result := range results {
				fmt.Fprintf(&text, " %20s", cell(result[i]))
			}
			text.WriteString("\n")
			if ours := results[0][i]; f.aim != nil && (slices.Min(ours) < f.aim.from || slices.Max(ours) > f.aim.to) {
				t.Errorf("%d permits, %s: %s, want %v", permits, f.name, cell(ours), *f.aim)
			}
		}
	}
	return text.String()
}

// play returns the values of each figure in each history, for each peer.
func (sc *scenario) play(t *testing.T, permits int) [][][]float64 {
	t.Helper()
	results := make([][][]float64, len(peers))
	for p, peer := range peers {
		results[p] = make([][]float64, len(sc.figures))
		if peer.few && sc.manyKeys {
			continue
		}
		for history := range *histories {
			synctest.Test(t, func(*testing.T) {
				used := hall.Gather(peer.open(permits, history), sc.parties, uint64(history))
				for i, f := range sc.figures {
					results[p][i] = append(results[p][i], f.of(used, permits))
				}
			})
		}
	}
	return results
}

// cell has the median of the histories, the lowest and the highest.
func cell(all []float64) string {
	if len(all) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s-%s)", number(stat.Median(all)), number(slices.Min(all)), number(slices.Max(all)))
}

// number has three digits at least.
func number(x float64) string {
	switch {
	case x < 9.995:
		return fmt.Sprintf("%.2f", x)
	case x < 99.95:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.0f", x)
	}
}

// head names the command, the versions and the settings.
func head(t *testing.T) string {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "k8s.io/apiserver").Output()
	if err != nil {
		t.Fatal(err)
	}
	return "PEERS shares of permits between clients, in virtual time\n\n" +
		fmt.Sprintf("repeat    cd bench/peers && go test -count 1 -timeout 30m -args -histories %d -keep ../results/apf.txt\n", *histories) +
		fmt.Sprintf("programs  %s, %s\n", runtime.Version(), strings.TrimSpace(string(version))) +
		fmt.Sprintf("settings  %d places and waits of at most %s, but not for strides\n\n", places, maxWait) +
		"offload   a pool of this project with Fair\n" +
		fmt.Sprintf("APF       Kubernetes' API Priority and Fairness: one priority level with %d queues of %d places, hands of %d, one\n", queues, queueLength, handSize) +
		"          seat for each request; the defaults of its API\n" +
		"strides   a model of Temporal's fairness keys: stride scheduling of tasks by key, in a backlog\n" +
		"          without bounds; it has no model of more than 100 keys\n\n" +
		fmt.Sprintf("A cell is the median of the histories (lowest-highest). There are %d, in each of which keys have other hashes.\n", *histories)
}
