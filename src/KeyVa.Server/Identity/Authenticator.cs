using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using KeyVa.Server.Admission;

namespace KeyVa.Server.Identity;

/// <summary>How an attempt to prove who one is ended.</summary>
internal enum Proof
{
    Accepted,

    /// <summary>No such user, or not its password.</summary>
    Wrong,

    /// <summary>Too many wrong ones came from this address, or too many wait: to be tried again later.</summary>
    TooMany,
}

/// <summary>What became of an attempt, and whom it made of the caller.</summary>
internal readonly record struct ProofResult(Proof Proof, Caller? Caller = null, TimeSpan RetryAfter = default);

/// <summary>
/// Tells who somebody is by a password or a token. Hashing a password is slow on purpose, so it is done on a few threads of the pool, never on the
/// thread that serves connections, and not again for one that was right a while ago. Thread-safe.
/// </summary>
/// <remarks>
/// Invariants.
/// 1. What is remembered is a keyed hash of user and password, under a key of this process, and counts as long as the user has the same password.
/// 2. A user that there is not costs as much time as a wrong password, so that names cannot be found out by the clock.
/// 3. At most <see cref="MaxWaiting"/> passwords wait to be hashed; more are refused at once.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "a semaphore that nobody waits for by handle holds memory alone")]
internal sealed class Authenticator(UserStore users)
{
    private const int MaxRemembered = 4096;
    private const int MaxWaiting = 256;

    // After this many wrong ones in a row an address has one attempt a second.
    private const int FailureBurst = 20;

    private static readonly TimeSpan BusyPause = TimeSpan.FromSeconds(1);

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly ConcurrentDictionary<UInt128, PasswordHash> _remembered = new();
    private readonly SemaphoreSlim _hashing = new(Math.Max(1, Environment.ProcessorCount / 2));
    private readonly PasswordHash _nobody = PasswordHash.Create("nobody", users.Iterations);
    private int _waiting;

    public UserDirectory Users => users.Current;

    /// <summary>Limits of wrong passwords, by address.</summary>
    public RateTable<string> Failures { get; } = new(new RateOptions { PerSecond = 1, Burst = FailureBurst });

    /// <summary>What can be told at once: a token, or a password that was right a while ago; null: it takes <see cref="ProveAsync"/>.</summary>
    public ProofResult? TryProve(string name, string secret, string address)
    {
        UserDirectory directory = Users;
        if (AccessToken.LooksLikeOne(secret))
        {
            // A token may stand wherever a password stands.
            return directory.FindToken(secret) is { } found && (name.Length == 0 || name == found.User.Name)
                ? new ProofResult(Proof.Accepted, Caller.Of(directory, found.User, found.Token, address))
                : Failed(address);
        }

        if (directory.Find(name) is { Password: { } password } user
            && _remembered.TryGetValue(Digest(name, secret), out PasswordHash? remembered) && ReferenceEquals(remembered, password))
        {
            return new ProofResult(Proof.Accepted, Caller.Of(directory, user, password, address));
        }

        return Encoding.UTF8.GetByteCount(secret) > PasswordHash.MaxPasswordBytes ? Failed(address) : null;
    }

    /// <summary>Hashes a password and tells.</summary>
    public async Task<ProofResult> ProveAsync(string name, string secret, string address)
    {
        if (!Failures.Find(address).HasTokens(out TimeSpan retryAfter))
        {
            return new ProofResult(Proof.TooMany, RetryAfter: retryAfter);
        }

        if (Interlocked.Increment(ref _waiting) > MaxWaiting)
        {
            Interlocked.Decrement(ref _waiting);
            return new ProofResult(Proof.TooMany, RetryAfter: BusyPause);
        }

        try
        {
            await _hashing.WaitAsync();
            try
            {
                return TryProve(name, secret, address) ?? await Task.Run(() => Prove(name, secret, address));
            }
            finally
            {
                _hashing.Release();
            }
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    private ProofResult Prove(string name, string secret, string address)
    {
        UserDirectory directory = Users;
        User? user = directory.Find(name);
        PasswordHash password = user?.Password ?? _nobody;
        bool matches = password.Matches(secret);
        if (!matches || user?.Password is null)
        {
            return Failed(address);
        }

        if (_remembered.Count >= MaxRemembered)
        {
            // Only those who know passwords get here, and most come again at once.
            _remembered.Clear();
        }

        _remembered[Digest(name, secret)] = password;
        return new ProofResult(Proof.Accepted, Caller.Of(directory, user, password, address));
    }

    private ProofResult Failed(string address) =>
        Failures.Find(address).TryTake(1, out TimeSpan retryAfter) ? new ProofResult(Proof.Wrong) : new ProofResult(Proof.TooMany, RetryAfter: retryAfter);

    private UInt128 Digest(string name, string secret)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes($"{name}\0{secret}"), hash);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(hash);
    }
}
