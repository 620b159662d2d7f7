package evidence

import "slices"

// A Reference is a paragraph that asks for something. Text is how a report cites
// it; a check may cite only what stands in References.
type Reference struct {
	Text    string
	Meaning string
	Kind    Kind
}

// Kind is how binding a paragraph of the Security Rule is: 45 CFR 164.306(d).
type Kind string

const (
	Required    Kind = "required"
	Addressable Kind = "addressable" // implement, or document why not reasonable and do the equivalent
	Guidance    Kind = "guidance"
)

// References are the sources, in the order in which documents list them. Checked
// against eCFR and csrc.nist.gov in 2026.
var References = []Reference{
	{"45 CFR 164.306(a)", "protect confidentiality, integrity and availability of ePHI", Required},
	{"45 CFR 164.308(a)(1)(ii)(A)", "accurate and thorough risk analysis", Required},
	{"45 CFR 164.308(a)(1)(ii)(B)", "reduce risks to a reasonable and appropriate level", Required},
	{"45 CFR 164.308(a)(1)(ii)(D)", "review records of system activity", Required},
	{"45 CFR 164.308(a)(4)", "information access management", Required},
	{"45 CFR 164.308(a)(5)(ii)(B)", "protection from malicious software", Addressable},
	{"45 CFR 164.308(a)(5)(ii)(C)", "log-in monitoring", Addressable},
	{"45 CFR 164.308(a)(5)(ii)(D)", "password management", Addressable},
	{"45 CFR 164.308(a)(6)(ii)", "respond to and report incidents", Required},
	{"45 CFR 164.308(a)(8)", "periodic technical and non-technical evaluation", Required},
	{"45 CFR 164.310(d)(1)", "device and media controls", Required},
	{"45 CFR 164.312(a)(1)", "access control: only those who were granted rights", Required},
	{"45 CFR 164.312(a)(2)(i)", "unique user identification", Required},
	{"45 CFR 164.312(a)(2)(iv)", "encryption and decryption of stored ePHI", Addressable},
	{"45 CFR 164.312(b)", "audit controls: record and examine activity", Required},
	{"45 CFR 164.312(c)(1)", "protect ePHI from improper alteration or destruction", Required},
	{"45 CFR 164.312(d)", "person or entity authentication", Required},
	{"45 CFR 164.312(e)(1)", "transmission security", Required},
	{"45 CFR 164.312(e)(2)(i)", "integrity of what is transmitted", Addressable},
	{"45 CFR 164.312(e)(2)(ii)", "encryption of what is transmitted", Addressable},
	{"45 CFR 164.316(b)(1)", "written policies, procedures and actions, kept six years", Required},

	{"NIST SP 800-52r2", "TLS: versions, cipher suites, certificates", Guidance},
	{"NIST SP 800-57pt1r5", "key strengths and lifetimes", Guidance},
	{"FIPS 140-3", "validated cryptographic modules", Guidance},
	{"NIST SP 800-53r5 AC-3", "access enforcement", Guidance},
	{"NIST SP 800-53r5 AC-4", "information flow enforcement", Guidance},
	{"NIST SP 800-53r5 AC-6", "least privilege", Guidance},
	{"NIST SP 800-53r5 AC-17", "remote access", Guidance},
	{"NIST SP 800-53r5 AU-8", "time stamps", Guidance},
	{"NIST SP 800-53r5 CA-8", "penetration testing", Guidance},
	{"NIST SP 800-53r5 CM-5", "access restrictions for change", Guidance},
	{"NIST SP 800-53r5 CM-6", "configuration settings", Guidance},
	{"NIST SP 800-53r5 CM-7", "least functionality", Guidance},
	{"NIST SP 800-53r5 IA-2", "identification and authentication of users", Guidance},
	{"NIST SP 800-53r5 IA-3", "device identification and authentication", Guidance},
	{"NIST SP 800-53r5 IA-5", "authenticator management", Guidance},
	{"NIST SP 800-53r5 IA-9", "service identification and authentication", Guidance},
	{"NIST SP 800-53r5 MP-6", "media sanitization", Guidance},
	{"NIST SP 800-53r5 RA-5", "vulnerability monitoring and scanning", Guidance},
	{"NIST SP 800-53r5 SC-4", "information in shared system resources", Guidance},
	{"NIST SP 800-53r5 SC-5", "denial-of-service protection", Guidance},
	{"NIST SP 800-53r5 SC-7", "boundary protection", Guidance},
	{"NIST SP 800-53r5 SC-8", "transmission confidentiality and integrity", Guidance},
	{"NIST SP 800-53r5 SC-12", "cryptographic key establishment and management", Guidance},
	{"NIST SP 800-53r5 SC-13", "cryptographic protection", Guidance},
	{"NIST SP 800-53r5 SC-17", "public key infrastructure certificates", Guidance},
	{"NIST SP 800-53r5 SC-23", "session authenticity", Guidance},
	{"NIST SP 800-53r5 SC-28", "protection of information at rest", Guidance},
	{"NIST SP 800-53r5 SC-39", "process isolation", Guidance},
	{"NIST SP 800-53r5 SC-45", "system time synchronization", Guidance},
	{"NIST SP 800-53r5 SI-2", "flaw remediation", Guidance},
	{"NIST SP 800-53r5 SI-7", "software, firmware and information integrity", Guidance},
	{"NIST SP 800-53r5 SI-11", "error handling", Guidance},
	{"NIST SP 800-53r5 SI-16", "memory protection", Guidance},
}

// Find is the reference that a report cites as text.
func Find(text string) (Reference, bool) {
	i := slices.IndexFunc(References, func(r Reference) bool { return r.Text == text })
	if i < 0 {
		return Reference{}, false
	}
	return References[i], true
}
