package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// startRelay starts the tailnet's only DERP relay and its STUN responder, and
// returns the map that leads nodes to them.
func startRelay() (*tailcfg.DERPMap, error) {
	stunPort, err := startSTUN()
	if err != nil {
		return nil, fmt.Errorf("STUN: %w", err)
	}
	relay := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), logger.Discard)))
	// A relay takes over the connection, which HTTP/2 cannot give it.
	relay.Config.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	relay.StartTLS()

	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: {
		RegionID:   1,
		RegionCode: "lab",
		RegionName: "lab",
		Nodes: []*tailcfg.DERPNode{{
			Name:             "lab1",
			RegionID:         1,
			HostName:         "127.0.0.1",
			IPv4:             "127.0.0.1",
			IPv6:             "none",
			STUNPort:         stunPort,
			STUNTestIP:       "127.0.0.1",
			DERPPort:         relay.Listener.Addr().(*net.TCPAddr).Port,
			InsecureForTests: true,
		}},
	}}}, nil
}

// startSTUN answers binding requests and returns the UDP port it listens on.
func startSTUN() (int, error) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	go func() {
		packet := make([]byte, 64<<10)
		for {
			n, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			transaction, err := stun.ParseBindingRequest(packet[:n])
			if err != nil {
				continue
			}
			seen := from.(*net.UDPAddr).AddrPort()
			socket.WriteTo(stun.Response(transaction, netip.AddrPortFrom(seen.Addr().Unmap(), seen.Port())), from)
		}
	}()
	return socket.LocalAddr().(*net.UDPAddr).Port, nil
}
