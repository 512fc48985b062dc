namespace KeyVa.Server.Identity;

/// <summary>Who has a client certificate. Stateless.</summary>
internal static class CertificateCaller
{
    /// <summary>The caller with a certificate of these names, that of the certificate itself before that of its subject; null: nobody's.</summary>
    public static Caller? Find(UserDirectory users, (string Fingerprint, string Subject) names, string address)
    {
        (User? user, string name) = users.FindCertificate(names.Fingerprint) is { } exact ? (exact, names.Fingerprint) : (users.FindCertificate(names.Subject), names.Subject);
        return user is null ? null : Caller.Of(users, user, name, address);
    }
}
