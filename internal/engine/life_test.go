package engine

import "testing"

func TestEngineStartsAndAnswers(t *testing.T) {
	r := start(t, Options{})
	if got := r.app().do("SET", "k", "v"); got != "OK" {
		t.Errorf("SET: %v", got)
	}
}
