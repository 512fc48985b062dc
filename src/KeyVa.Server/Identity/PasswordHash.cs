using System.Security.Cryptography;
using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>
/// A password as it is kept: PBKDF2 (RFC 8018) over HMAC-SHA-512, with a salt of its own and the number of iterations it was
/// made with, so that the setting can rise without making older ones useless. Immutable.
/// </summary>
internal sealed class PasswordHash(byte[] salt, int iterations, byte[] hash)
{
    /// <summary>The name of the function in files.</summary>
    public const string Function = "pbkdf2-sha512";

    /// <summary>The longest password in bytes; HMAC shortens longer ones by itself, but somebody has to hash them.</summary>
    public const int MaxPasswordBytes = 1024;

    public const int MinIterations = 10_000;
    public const int MaxIterations = 10_000_000;

    /// <summary>As OWASP's Password Storage Cheat Sheet asks of PBKDF2-HMAC-SHA512.</summary>
    public const int DefaultIterations = 210_000;

    private const int SaltBytes = 16;
    private const int HashBytes = 32;

    public byte[] Salt { get; } = salt;

    public int Iterations { get; } = iterations;

    public byte[] Hash { get; } = hash;

    /// <summary>Hashes a password. Slow, on purpose.</summary>
    public static PasswordHash Create(string password, int iterations)
    {
        byte[] salt = RandomNumberGenerator.GetBytes(SaltBytes);
        return new PasswordHash(salt, iterations, Derive(password, salt, iterations));
    }

    /// <summary>Whether a password is the one. Slow, on purpose.</summary>
    public bool Matches(string password) => CryptographicOperations.FixedTimeEquals(Derive(password, Salt, Iterations), Hash);

    private static byte[] Derive(string password, byte[] salt, int iterations) =>
        Rfc2898DeriveBytes.Pbkdf2(Encoding.UTF8.GetBytes(password), salt, iterations, HashAlgorithmName.SHA512, HashBytes);
}
