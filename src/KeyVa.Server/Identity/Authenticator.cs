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
/// Tells who somebody is by a password or a token. Passwords are compared by <see cref="PasswordChecks"/>, never on the thread that serves connections. Thread-safe.
/// </summary>
/// <remarks>
/// Invariants.
/// 1. A user that there is not costs as much time as a wrong password, so that names cannot be found out by the clock.
/// 2. Whoever is told apart by a password has it at the moment of the answer: one that was changed while it was checked is checked anew.
/// </remarks>
internal sealed class Authenticator(UserStore users, PasswordChecks checks)
{
    // After this many wrong ones in a row an address has one attempt a second.
    private const int FailureBurst = 20;

    private static readonly TimeSpan BusyPause = TimeSpan.FromSeconds(1);

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);
    private readonly PasswordHash _nobody = PasswordHash.Create("nobody", users.Iterations);

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
            && checks.IsRemembered(new CredentialDigest(_key, name, secret), password))
        {
            return new ProofResult(Proof.Accepted, Caller.Of(directory, user, password, address));
        }

        return Encoding.UTF8.GetByteCount(secret) > PasswordHash.MaxPasswordBytes ? Failed(address) : null;
    }

    /// <summary>Has a password checked and tells.</summary>
    public async Task<ProofResult> ProveAsync(string name, string secret, string address)
    {
        if (!Failures.Find(address).HasTokens(out TimeSpan retryAfter))
        {
            return new ProofResult(Proof.TooMany, RetryAfter: retryAfter);
        }

        CredentialDigest credential = new(_key, name, secret);
        while (true)
        {
            PasswordHash password = Users.Find(name)?.Password ?? _nobody;
            if (checks.TryCheck(credential, password, secret) is not { } check)
            {
                return new ProofResult(Proof.TooMany, RetryAfter: BusyPause);
            }

            bool matches = await check;
            UserDirectory now = Users;
            User? user = now.Find(name);
            if (ReferenceEquals(user?.Password ?? _nobody, password))
            {
                return matches && user?.Password is not null ? new ProofResult(Proof.Accepted, Caller.Of(now, user, password, address)) : Failed(address);
            }

            // Each turn more takes another password of this user meanwhile, and making one takes as long as checking it.
        }
    }

    private ProofResult Failed(string address) =>
        Failures.Find(address).TryTake(1, out TimeSpan retryAfter) ? new ProofResult(Proof.Wrong) : new ProofResult(Proof.TooMany, RetryAfter: retryAfter);
}
