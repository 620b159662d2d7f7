package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// generation is the number of this network namespace's ruleset. It rises by one with each
// transaction, whoever makes it (NFT_MSG_GETGEN, linux/netfilter/nf_tables.h).
func generation() (uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	within := unix.NsecToTimeval(nftWithin.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &within); err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	const ours = unix.NFNL_SUBSYS_NFTABLES << 8
	ask := make([]byte, unix.NLMSG_HDRLEN+4) // then a struct nfgenmsg, all zero
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], ours|unix.NFT_MSG_GETGEN)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	answer := make([]byte, 4096)
	n, err := unix.Read(fd, answer)
	if err != nil {
		return 0, fmt.Errorf("netlink: %w", err)
	}
	const attribute = unix.NLMSG_HDRLEN + 4 // the first one is the number, big-endian
	if answer = answer[:n]; n < attribute+8 ||
		binary.NativeEndian.Uint16(answer[4:]) != ours|unix.NFT_MSG_NEWGEN || binary.NativeEndian.Uint16(answer[attribute+2:]) != unix.NFTA_GEN_ID {
		return 0, errors.New("netlink: the kernel doesn't tell the number of its ruleset")
	}
	return binary.BigEndian.Uint32(answer[attribute+4:]), nil
}
