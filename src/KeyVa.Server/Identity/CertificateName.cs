using System.Buffers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace KeyVa.Server.Identity;

/// <summary>How client certificates are called in the list of users. Stateless.</summary>
internal static class CertificateName
{
    public const string Forms = "sha256:FINGERPRINT in hexadecimal, or subject:NAME such as subject:CN=orders,O=Example";

    private const string FingerprintPrefix = "sha256:";
    private const string SubjectPrefix = "subject:";
    private const int MaxSubjectLength = 1024;

    private static readonly SearchValues<char> HexadecimalDigits = SearchValues.Create("0123456789abcdef");

    /// <summary>Why a text names no certificate; null: it does.</summary>
    public static string? Check(string name) =>
        (name.StartsWith(FingerprintPrefix, StringComparison.Ordinal) && name.Length == FingerprintPrefix.Length + (SHA256.HashSizeInBytes * 2)
            && !name.AsSpan(FingerprintPrefix.Length).ContainsAnyExcept(HexadecimalDigits))
        || (name.StartsWith(SubjectPrefix, StringComparison.Ordinal) && name.Length > SubjectPrefix.Length && name.Length <= MaxSubjectLength)
            ? null
            : $"'{name}' names no certificate; write {Forms}";

    /// <summary>The name in the form in which it is kept.</summary>
    public static string Normal(string name)
    {
        if (name.StartsWith(FingerprintPrefix, StringComparison.OrdinalIgnoreCase))
        {
            return FingerprintPrefix + name[FingerprintPrefix.Length..].Replace(":", "", StringComparison.Ordinal).ToLowerInvariant();
        }

        return name.StartsWith(SubjectPrefix, StringComparison.Ordinal) ? SubjectPrefix + Subject(name[SubjectPrefix.Length..]) : name;
    }

    /// <summary>The names under which a certificate may be known: its fingerprint, and its subject.</summary>
    public static (string Fingerprint, string Subject) Of(X509Certificate2 certificate) => (
        FingerprintPrefix + Convert.ToHexStringLower(SHA256.HashData(certificate.RawData)),
        SubjectPrefix + Subject(certificate.SubjectName.Name));

    // Without the blanks between the parts, which some programs write and others do not.
    private static string Subject(string name) => name.Replace(", ", ",", StringComparison.Ordinal);
}
