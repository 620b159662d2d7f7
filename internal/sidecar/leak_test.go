package sidecar

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// states are the rows of "connection state" of a Redis connection: what sets
// each.
var states = map[string]string{
	"identity":                "AUTH other opw",
	"identity by HELLO":       "HELLO 2 AUTH other opw SETNAME o",
	"identity in MULTI":       "MULTI\nAUTH other opw\nEXEC",
	"protocol":                "HELLO 3",
	"protocol in MULTI":       "MULTI\nHELLO 3\nEXEC",
	"database":                "SELECT 3\nSET only-in-0 no",
	"database in MULTI":       "MULTI\nSELECT 3\nEXEC\nSET only-in-0 no",
	"MULTI":                   "MULTI\nSET w 9",
	"failed MULTI":            "MULTI\nNOSUCH",
	"failed MULTI, arity":     "MULTI\nGET",
	"failed MULTI, refused":   "MULTI\nCONFIG SET dir /",
	"WATCH":                   "WATCH w",
	"WATCH and MULTI":         "WATCH w\nMULTI\nGET w",
	"SUBSCRIBE":               "SUBSCRIBE news",
	"PSUBSCRIBE, RESP3":       "HELLO 3\nPSUBSCRIBE n*",
	"SUBSCRIBE in MULTI":      "MULTI\nSUBSCRIBE news other\nEXEC",
	"REPLY OFF":               "CLIENT REPLY OFF\nGET w",
	"REPLY SKIP":              "CLIENT REPLY SKIP",
	"REPLY OFF in MULTI":      "MULTI\nCLIENT REPLY OFF\nGET w\nEXEC\nGET w",
	"tracking":                "HELLO 3\nCLIENT TRACKING ON\nGET w",
	"tracking, broadcast":     "HELLO 3\nCLIENT TRACKING ON BCAST NOLOOP\nGET w",
	"tracking, OPTIN":         "HELLO 3\nCLIENT TRACKING ON OPTIN\nCLIENT CACHING YES",
	"NO-EVICT":                "CLIENT NO-EVICT ON",
	"NO-TOUCH":                "CLIENT NO-TOUCH ON",
	"name":                    "CLIENT SETNAME me\nCLIENT SETINFO LIB-NAME mine",
	"blocked":                 "BLPOP nothing 0",
	"blocked on a stream":     "XREAD BLOCK 0 STREAMS nothing-s $",
	"READONLY":                "READONLY\nASKING",
	"script":                  "EVAL redis.call('SELECT','3')redis.setresp(3)return(1) 0",
	"wrong password":          "AUTH wrong",
	"RESET":                   "RESET",
	"MULTI and RESET":         "MULTI\nSET w 9\nRESET",
	"a command of too little": "GET",
}

// probe is what its fellow asks; every state would change an answer.
var probe = script("SET w 2\nGET w\nPING\nGET only-in-0\nHGETALL h\nMULTI\nGET w\nINCR w\nEXEC\nGET w\nCLIENT GETNAME\nACL WHOAMI\nPUBLISH news hello\nHGETALL h\nECHO end")

// TestNoStateOfOneGuestIsAnothers: a guest sets a state of its connection, then
// goes on or dies; those of the same password that were there before and those
// that come see nothing of it.
func TestNoStateOfOneGuestIsAnothers(t *testing.T) {
	car, l := pair(t, "user other on >opw +@all ~* &*")
	direct := dialUnix(t, l.socket).login()
	direct.expect("+OK\r\n", "SET", "only-in-0", "yes")
	direct.expect(":1\r\n", "HSET", "h", "f", "v")
	ask := func(c *client, what string) {
		t.Helper()
		answers := func(c *client) (all string) {
			c.write(probe)
			for i := range 15 {
				if reply := c.reply(); i != 12 { // how many heard the news may change meanwhile
					all += reply
				}
			}
			return all
		}
		want := answers(direct)
		if got := answers(c); got != want {
			t.Errorf("%s: %s", what, firstDifference(want, got))
		}
	}
	before := dialCar(t, car).login()
	ask(before, "nothing set yet")
	for name, lines := range states {
		for _, pieces := range []bool{false, true} {
			for _, dies := range []bool{false, true} {
				what := fmt.Sprintf("%s, in pieces: %v, dies: %v", name, pieces, dies)
				x := dialCar(t, car).login()
				if pieces {
					for line := range strings.Lines(lines) {
						x.write(script(line))
						ask(before, what+", meanwhile")
					}
				} else {
					x.write(script(lines))
				}
				if dies {
					x.tcp().SetLinger(0)
					x.conn.Close()
				}
				ask(before, what)
				newcomer := dialCar(t, car).login()
				ask(newcomer, what+", newcomer")
				x.conn.Close()
				ask(before, what+", after")
				newcomer.conn.Close()
			}
		}
	}
}

// walks are pipelines whose order must hold over every change of lane. K stands
// for a prefix of the guest's own keys.
var walks = []string{
	"SET K1 1\nSELECT 1\nSET K1 2\nSELECT 0\nGET K1\nSELECT 1\nGET K1",
	"LPUSH Kq x\nBLPOP Kq 0\nLPUSH Kq y z\nBRPOP Kq 0\nLRANGE Kq 0 -1",
	"SET K1 1\nMULTI\nINCR K1\nGET K1\nEXEC\nGET K1",
	"SET K1 1\nMULTI\nINCR K1\nDISCARD\nGET K1\nEXEC",
	"SET K1 1\nMULTI\nSET K1 2\nSELECT 2\nSET K1 3\nEXEC\nGET K1\nSELECT 0\nGET K1",
	"SET K1 1\nAUTH wrong\nGET K1\nAUTH " + password + "\nINCR K1\nAUTH default wrong\nINCR K1",
	"SET K1 1\nHELLO 3\nHSET Kh a 1\nHGETALL Kh\nHELLO 2\nHGETALL Kh\nHELLO 9\nGET K1",
	"HELLO 3 AUTH default wrong\nHSET Kh a 1\nHGETALL Kh\nHELLO 3 AUTH default " + password + "\nHGETALL Kh",
	"CLIENT SETNAME a\nHELLO 2\nCLIENT GETNAME\nAUTH " + password + "\nSELECT 1\nCLIENT GETNAME\nHELLO 3 AUTH default wrong SETNAME b\nCLIENT GETNAME",
	"SET K1 1\nRESET\nGET K1\nAUTH " + password + "\nGET K1",
	"SET K1 1\nSELECT 1\nRESET\nAUTH " + password + "\nGET K1",
	"SET K1 1\nQUIT\nSET K1 2\nGET K1",
	"SET K1 1\nWATCH K1\nSET K1 2\nMULTI\nGET K1\nEXEC\nMULTI\nGET K1\nEXEC",
	"SET K1 1\nEVAL return(redis.call('INCR',KEYS[1])) 1 K1\nINCR K1\nEVAL return(redis.call('GET',KEYS[1])) 1 K1",
	"SET K1 1\nCLIENT SETNAME a\nINCR K1\nCLIENT GETNAME\nGET K1\nROLE\nINCR K1",
	"SET K1 1\nSELECT 99\nGET K1\nSELECT x\nSELECT +1\nSELECT 01\nSELECT -1\nSELECT\nGET K1",
	"SET K1 1\nSUBSCRIBE K1\nPING\nUNSUBSCRIBE\nGET K1",
	"SET K1 1\nNOSUCH\nINCR K1\nGET K1",
	"XADD Ks 1-1 a b\nXREAD COUNT 1 STREAMS Ks 0\nXREAD BLOCK 10 STREAMS Ks 5\nXLEN Ks",
	"SET K1 1\nMULTI\nNOSUCH\nINCR K1\nEXEC\nGET K1\nMULTI x\nINCR K1\nEXEC\nGET K1",
	"MULTI\nMULTI\nSET K1 5\nEXEC\nGET K1\nMULTI\nWATCH K1\nEXEC\nDISCARD",
	"SET K1 1\nCLIENT REPLY SKIP\nINCR K1\nGET K1",
	"SET K1 1\nEXEC x\nDISCARD x\nUNWATCH x\nGET K1",
}

// TestOrderHoldsOverEveryChangeOfLane: many guests at a time on one sidecar, each
// compared byte for byte with a direct connection to another engine.
func TestOrderHoldsOverEveryChangeOfLane(t *testing.T) {
	t.Parallel()
	const guests, rounds = 8, 100
	b := newBoth(t)
	var work sync.WaitGroup
	for id := range guests {
		work.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(id)))
			for round := range rounds {
				prefix := fmt.Sprintf("g%d-%d-", id, round)
				stream := resp.AppendCommand(nil, "AUTH", password)
				for range 1 + r.IntN(3) {
					walk := walks[(id*rounds+round+r.IntN(3))%len(walks)]
					stream = append(stream, script(strings.ReplaceAll(walk, "K", prefix))...)
				}
				stream = append(stream, script("PING")...)
				sizes := []int{1 << 20}
				if r.IntN(2) > 0 {
					sizes = []int{1 + r.IntN(len(stream)), 1 + r.IntN(60), 1 + r.IntN(60), 1 + r.IntN(300)}
				}
				want, err := converse("unix", b.direct, stream, sizes)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := converse("tcp", b.car.Addr().String(), stream, sizes)
				if err != nil {
					t.Errorf("%v, stream %.2000q", err, stream)
					return
				}
				if d := firstDifference(hideIDs(want), hideIDs(got)); d != "" {
					t.Errorf("%s\nsizes %v, stream %.2000q", d, sizes, stream)
				}
			}
		})
	}
	work.Wait()
}

// converse is client.exchange for many goroutines at a time.
func converse(network, address string, stream []byte, sizes []int) (string, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	c := &client{conn: patientConn{conn}}
	got := c.exchangeQuietly(stream, sizes...)
	if strings.Contains(got, "<not closed: ") {
		return "", fmt.Errorf("%s: %.300q", address, got[strings.LastIndex(got, "<not closed: "):])
	}
	return got, nil
}

// exchangeQuietly never fails the test by itself.
func (c *client) exchangeQuietly(stream []byte, sizes ...int) string {
	c.t = quietly{}
	return c.exchange(stream, sizes...)
}

// quietly is for a client whose methods are called where a test can't be failed.
type quietly struct{ testing.TB }

func (quietly) Helper() {}
