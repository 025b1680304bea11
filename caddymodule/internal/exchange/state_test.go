package exchange

import (
	"net/http"
	"testing"
)

// An exchange that serves another run has nothing of the answer before.
func TestKeptExchangesAreAsGoodAsNew(t *testing.T) {
	x := newExchange()
	x.arrive(answer{res: new(http.Response), endless: true})
	if !x.Endless() {
		t.Fatal("the answer is not endless")
	}
	if _, err := x.awaitHead(); err != nil {
		t.Fatal(err)
	}
	x.state.end()
	if x.state.done() || !x.state.done() {
		t.Fatal("not kept when the worker and the owner are done")
	}
	if x.Leave(errClosed) {
		t.Error("a former run can leave what does not belong to it")
	}
	x.state.begin()
	if x.Endless() || x.answer.res != nil {
		t.Errorf("endless %v before an answer %v", x.Endless(), x.answer.res)
	}
	if !x.Leave(errClosed) || x.state.done() || x.state.done() {
		t.Error("kept, although a run has left")
	}
}
