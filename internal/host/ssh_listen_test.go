package host

import (
	"fmt"
	"testing"
)

// What systemd 252 prints of Debian 12's ssh.socket.
const sshSocket = `Listen=[::]:2200 (Stream)
Listen=/run/ssh (Stream)
Id=ssh.socket
ActiveState=active
UnitFileState=disabled
`

func TestSocketUnitsCountWhereTheyAreOnOrWillBe(t *testing.T) {
	off := "Listen=[::]:22 (Stream)\nId=sshd.socket\nActiveState=inactive\nUnitFileState=disabled\n"
	enabled := "Listen=10.0.0.1:23 (Stream)\nId=other-ssh.socket\nActiveState=inactive\nUnitFileState=enabled\n"
	got := socketsOf(parseUnits(sshSocket + "\n" + off + "\n" + enabled + "\n" + sshSocket))
	if want := "[[::]:2200 (ssh.socket) 10.0.0.1:23 (other-ssh.socket)]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// FuzzParseUnits: whatever systemctl prints, nothing breaks.
func FuzzParseUnits(f *testing.F) {
	f.Add(sshSocket)
	f.Add("Listen=\n\n\nId\n=")
	f.Fuzz(func(t *testing.T, text string) {
		units := parseUnits(text)
		socketsOf(units)
		serversOf(units)
	})
}
