/*
 * How hosts get certificates, keep them and lose them, as a model: enrolment by
 * token, renewal, revocation, and the replacement of the root, with a thief in it.
 * Spin looks at every order in which the steps below can happen.
 *
 * The thief may copy web-1's key and certificate at any moment, or be given a token.
 * For good he has the key and certificate of a gateway, so that he can pose as one,
 * what ends the hosts' TLS before the CA, so that he can ask that for whatever he
 * likes, and a root of his own. Two gateways have the CA's directory, a third hasn't.
 *
 * What is held: CERTIFIED, ONCE, TAKEN, BELIEVED, ADMITTED and CUT OFF, an assertion each.
 * Each mend can be taken out (-DWITHOUT_...), and then one of them breaks:
 * model_test.go has the table.
 *
 * An atomic step is what is done under the CA's lock, or by one machine alone.
 * Sets are bits.
 */
#define SERIALS 3              /* certificates of web-1 that are looked at: 1 to 3 */
#ifdef ROTATION
#define ROTATES true
#define TOKENS 1
#define GATEWAYS 2             /* the first has the CA */
#define HAS_CA(g) ((g) == 0)
#else
#define ROTATES false
#define TOKENS 2
#define GATEWAYS 3             /* the first two have the CA */
#define HAS_CA(g) ((g) < 2)
#endif
#define ONE_WITH_CA(g) if :: g = 0 :: HAS_CA(1) -> g = 1 fi
#define BIT(s) (1 << (s))
#define R1 1                   /* the CA's root */
#define R2 2                   /* the one that follows it */
#define RT 4                   /* the thief's own */

mtype = { resting, started, switched, finished }
mtype = { unmade, open, used }

/* The CA's directory. */
byte roots = R1, signing = R1; /* those in ca.crt; which of them signs */
mtype stage = resting;
byte issued;                   /* serials 1 to issued are in the ledger */
byte gone;                     /* those that it has as revoked */
byte list;                     /* those in revoked.crl */
byte root[SERIALS + 1];        /* under which each stands */
byte bundle[SERIALS + 1];      /* what its host was told to believe */
mtype token[TOKENS] = unmade;
byte pins[TOKENS];             /* the roots whose hashes a token carries */
bool stale[TOKENS];            /* web-1 was revoked after it was made */

/* The gateways. */
bool up[GATEWAYS] = true;
byte seen[GATEWAYS];           /* revoked serials that it knows of */
byte newest[GATEWAYS];         /* the newest list that it has seen, in a file of its own */
byte file;                     /* the list on the disk of the one without the CA */
byte groot[GATEWAYS] = R1;     /* under which its certificate stands */
byte gbundle[GATEWAYS] = R1;   /* what came with that */
byte gbelieves[GATEWAYS] = R1;

/* web-1, and what the thief has of it. */
byte serial, believes;
byte stolen;                   /* serials whose key he has */
bool knows[TOKENS];

/* What no mend reads. */
bool out;                      /* web-1 was revoked, and no token made since */
bool had;                      /* the thief has been given a token, or has copied a key */
byte uses[TOKENS];             /* how often a token gave a certificate */

#define LIVES(s)    ((s) != 0 && !(gone & BIT(s)) && (root[s] & roots))
#define TAKES(g, s) (up[g] && (s) != 0 && !(seen[g] & BIT(s)) && (root[s] & gbelieves[g]))

/* The mends. A renewal asks the ledger whether the serial lives, where it is signed. */
#if defined(WITHOUT_LEDGER)
#define ASKED_BEFORE(s) true
#define ASKED(s) true
#elif defined(WITHOUT_LOCK)
#define ASKED_BEFORE(s) LIVES(s)
#define ASKED(s) true
#else
#define ASKED_BEFORE(s) true
#define ASKED(s) LIVES(s)
#endif
/* A renewal is signed by the key of the certificate that it shows. */
#ifdef WITHOUT_PROOF
#define PROVED(s) ((s) <= issued)
#else
#define PROVED(s) (stolen & BIT(s))
#endif
/* A token signs what its host asks for, and stays with it. */
#ifdef WITHOUT_BINDING
#define SEEN(t) knows[t] = true
#else
#define SEEN(t) skip
#endif
/* A token of before a revocation is void. */
#ifdef WITHOUT_TOKENS
#define GOOD(t) true
#else
#define GOOD(t) !stale[t]
#endif
/* It is used up where the certificate is signed. */
#ifdef WITHOUT_ONCE
#define OPEN(t) true
#else
#define OPEN(t) (token[t] == open)
#endif
/* Who joins takes in no root that the token doesn't name. */
#ifdef WITHOUT_PINS
#define JOINS(said, t) (said & pins[t])
#else
#define JOINS(said, t) ((said | pins[t]) == pins[t])
#endif
/* Who renews takes in roots if one that is believed has signed for them. */
#ifdef WITHOUT_ENDORSEMENT
#define RENEWS(signers, got) (root[got] & believes)
#else
#define RENEWS(signers, got) ((root[got] & believes) && (signers & believes))
#endif
/* A gateway starts with a list that is made from the ledger, or no older than any. */
#ifdef WITHOUT_LIST
#define MADE_ANEW list
#else
#define MADE_ANEW gone
#endif
#ifdef WITHOUT_NEWEST
#define NO_OLDER(list, newest) true
#else
#define NO_OLDER(list, newest) ((list | newest) == list)
#endif
/* A rotation waits for the newest certificate of each host. */
#ifdef WITHOUT_WAITING
#define ALL(ready) true
#else
#define ALL(ready) (ready)
#endif

/* A signature. CERTIFIED: there is none for who was revoked, until a token is made. */
inline sign(got, told) {
	assert(!out);
	issued++;
	root[issued] = signing;
	bundle[issued] = told;
	got = issued
}

/* Gateway g is asked for a certificate by who shows serial s. */
inline renew(g, s, got) {
	(HAS_CA(g) && TAKES(g, s));
	ask(s, got)
}

/* The CA is. */
inline ask(s, got) {
	(issued < SERIALS);
	ASKED_BEFORE(s);
	atomic {
		got = 0;
		if
		:: issued < SERIALS && ASKED(s) -> sign(got, roots)
		:: else
		fi
	}
}

/* A gateway is asked for a certificate by who shows token t. ONCE: it gives one. */
inline redeem(t, got) {
	(token[t] == open);
	atomic {
		got = 0;
		if
		:: OPEN(t) && GOOD(t) && (signing & pins[t]) && issued < SERIALS -> sign(got, roots & pins[t]); token[t] = used; uses[t]++; assert(uses[t] == 1)
		:: else
		fi
	}
}

active proctype Administrator() {
	byte made, revoked;
	do
	:: atomic { made < TOKENS ->
		token[made] = open; pins[made] = roots; out = false;
		if :: knows[made] = true; had = true :: skip fi;
		made++ }
	:: atomic { revoked < 1 && issued > 0 && !out ->
		gone = BIT(issued + 1) - 2; out = true; revoked++;
		stale[0] = (token[0] == open); stale[TOKENS - 1] = (token[TOKENS - 1] == open) }
	   list = gone
	/* A rotation, whose steps wait for those whom they would cut off. */
	:: atomic { ROTATES && stage == resting -> stage = started; roots = R1 | R2 }
	:: atomic { stage == started && ALL((!LIVES(issued) || (bundle[issued] & R2)) && (gbundle[0] & gbundle[1] & R2)) -> stage = switched; signing = R2 }
	:: atomic { stage == switched && ALL((!LIVES(issued) || root[issued] == R2) && (groot[0] & groot[1] & R2)) -> stage = finished; roots = R2 }
	od
}

/* What came: roots, and a certificate under one. BELIEVED: no host believes a root that
   isn't the CA's. */
inline take(good, said, got) {
	if
	:: good && (root[got] & said) -> believes = said; serial = got; assert(!(believes & RT))
	:: else
	fi
}

active proctype Web1() {
	byte got, t, g;
	do
	:: serial == 0 -> /* it joins, with either token */
		if :: t = 0 :: t = TOKENS - 1 fi;
		if
		:: redeem(t, got);
		   atomic { if :: got != 0 -> take(JOINS(roots & pins[t], t), roots & pins[t], got) :: else fi; got = 0; t = 0 }
		:: atomic { token[t] == open && (pins[t] & R1) -> SEEN(t) } /* at the thief's, */
		   redeem(t, got);                                       /* who passes it on */
		   atomic { if :: got != 0 -> take(JOINS(roots | RT, t), roots | RT, got) :: else fi; got = 0; t = 0 }
		fi
	:: atomic { serial != 0 && issued < SERIALS -> ONE_WITH_CA(g) } /* it renews, at one with the CA, */
		if
		:: (groot[g] & believes) -> renew(g, serial, got);
		   atomic { if :: got != 0 -> take(RENEWS(roots, got), roots, got) :: else fi; got = 0; g = 0 }
		:: (R1 & believes) -> ask(serial, got); /* or at the thief's, who passes it on */
		   atomic { if :: got != 0 -> take(RENEWS(RT, got), roots | RT, got) :: else fi; got = 0; g = 0 }
		fi
	od
}

/* TAKEN: the thief gets nothing by what he passes on, or has taken in the CA's front. */
#define TAKES_IT(got) assert(had || got == 0); stolen = stolen | (got != 0 -> BIT(got) : 0)

active proctype Thief() {
	byte got, s;
	do
	:: atomic { serial != 0 && !(stolen & BIT(serial)) -> stolen = stolen | BIT(serial); had = true }
	:: atomic { issued > 0 && issued < SERIALS -> if :: s = 1 :: s = 2 :: s = 3 fi; PROVED(s) }
	   ask(s, got);
	   atomic { TAKES_IT(got); got = 0; s = 0 }
	:: if :: knows[0] -> redeem(0, got) :: knows[TOKENS - 1] -> redeem(TOKENS - 1, got) fi;
	   atomic { TAKES_IT(got); got = 0 }
	od
}

inline hear(g, l) {
	seen[g] = seen[g] | l;
	newest[g] = newest[g] | seen[g]
}

active [GATEWAYS] proctype Gateway() {
	byte g = _pid - 3; /* after the three above */
	do
	/* It hears of what is revoked. */
	:: atomic { up[g] && HAS_CA(g) && (seen[g] != list || gbelieves[g] != roots) -> gbelieves[g] = roots; hear(g, list) }
	:: atomic { up[g] && !HAS_CA(g) && seen[g] != list -> file = list; hear(g, list) }
	/* It renews its own certificate. */
	:: atomic { up[g] && (groot[g] != signing || gbundle[g] != roots) ->
		groot[g] = signing; gbundle[g] = roots; gbelieves[g] = roots }
	/* It stops; its list may be lost, or an old one be put back; it starts. */
	:: atomic { !ROTATES && up[g] && newest[g] != 0 -> up[g] = false; seen[g] = 0;
		if :: skip :: HAS_CA(g) -> list = 0 :: !HAS_CA(g) -> file = 0 fi }
	:: atomic { !up[g] && HAS_CA(g) -> up[g] = true; list = MADE_ANEW; hear(g, list) }
	:: atomic { !up[g] && !HAS_CA(g) && NO_OLDER(file, newest[g]) -> up[g] = true; hear(g, file) }
	od
}

/* ADMITTED: no gateway takes who it has ever known to be revoked. */
#define LETS_IN(g) ((TAKES(g, 1) && (newest[g] & BIT(1))) || (TAKES(g, 2) && (newest[g] & BIT(2))) || (TAKES(g, 3) && (newest[g] & BIT(3))))

/* CUT OFF: a host that has its newest certificate, and every gateway, take each other
   at whatever step of a rotation. Not looked at: whose newest is on its way or lost
   (docs/decisions/0053), or the thief's. */
#define MEETS(g) (!up[g] || ((root[serial] & gbelieves[g]) && (groot[g] & believes)))

active proctype Monitor() {
	if
	:: atomic { LETS_IN(0) || LETS_IN(1) || LETS_IN(GATEWAYS - 1) ->
		assert(!(LETS_IN(0) || LETS_IN(1) || LETS_IN(GATEWAYS - 1))) }
	:: atomic { LIVES(serial) && serial == issued && !(MEETS(0) && MEETS(1) && MEETS(GATEWAYS - 1)) ->
		assert(MEETS(0) && MEETS(1) && MEETS(GATEWAYS - 1)) }
	fi
}
