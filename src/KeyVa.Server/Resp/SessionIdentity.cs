using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>
/// Who speaks on one connection: whoever its certificate names, or has proved itself by AUTH or HELLO; as the users are at each moment. One thread at a
/// time, but for <see cref="Caller"/>, which may be read from any.
/// </summary>
internal sealed class SessionIdentity
{
    private readonly RespSession _session;
    private readonly Action<Caller> _became;
    private volatile Caller _caller = null!;
    private (string Fingerprint, string Subject)? _certificate;

    /// <param name="session">The connection.</param>
    /// <param name="became">Told of each new caller, the first one too.</param>
    public SessionIdentity(RespSession session, Action<Caller> became)
    {
        _session = session;
        _became = became;
        Become(Caller.Anonymous(session.Door.Users, session.Address.Text));
    }

    public Caller Caller => _caller;

    /// <summary>Whether every key may be read.</summary>
    public bool ReadsAll { get; private set; }

    /// <summary>Whether every key may be written.</summary>
    public bool WritesAll { get; private set; }

    /// <summary>The client has shown a certificate that its authority vouches for.</summary>
    public void Show((string Fingerprint, string Subject) certificate)
    {
        _certificate = certificate;
        Forget();
    }

    /// <summary>Nobody has said anything: whoever the certificate names.</summary>
    public void Forget() => Become(Nobody());

    /// <summary>Looks at the users as they are now: one whose user or credential is gone is nobody any more.</summary>
    public void Refresh()
    {
        Caller now = _caller.AsOf(_session.Door.Users);
        if (!ReferenceEquals(now, _caller))
        {
            Become(now.IsKnown ? now : Nobody());
        }
    }

    /// <summary>Goes on as somebody else, or as the same with other credentials.</summary>
    public void Become(Caller caller)
    {
        _caller = caller;
        ReadsAll = caller.Data.Everywhere >= Level.Read;
        WritesAll = caller.Data.Everywhere >= Level.Write;
        _became(caller);
    }

    /// <summary>Has a name and a secret proved, and goes on as that user; what fails is replied.</summary>
    public void Prove(string name, string secret, Action accepted)
    {
        if (_session.Door.Authenticator.TryProve(name, secret, _session.Address.Text) is { } known)
        {
            EndProof(known, accepted);
        }
        else
        {
            // The hash takes longer than others of this thread can wait.
            _session.Start(ProveAsync(name, secret, accepted));
        }
    }

    private async Task ProveAsync(string name, string secret, Action accepted) =>
        EndProof(await _session.Door.Authenticator.ProveAsync(name, secret, _session.Address.Text), accepted);

    private void EndProof(in ProofResult result, Action accepted)
    {
        switch (result.Proof)
        {
            case Proof.Accepted:
                Become(result.Caller!);
                accepted();
                break;
            case Proof.TooMany:
                _session.Output.Error(RespErrors.ComeBack(result.RetryAfter));
                break;
            default:
                _session.Output.Error(RespErrors.WrongPassword);
                break;
        }
    }

    private Caller Nobody() =>
        (_certificate is { } names ? CertificateCaller.Find(_session.Door.Users, names, _session.Address.Text) : null)
        ?? Caller.Anonymous(_session.Door.Users, _session.Address.Text);
}
