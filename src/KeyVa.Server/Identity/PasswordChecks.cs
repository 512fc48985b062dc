using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Server.Identity;

/// <summary>
/// Checks passwords against what users have. A check is slow on purpose: it is done on a few threads of the pool, once for all who ask for the same at the
/// same time, and not again for a password that was right a while ago. Thread-safe.
/// </summary>
/// <remarks>
/// Invariants.
/// 1. Passwords are not kept: those that were right, and those that are being checked, are known by a keyed hash (<see cref="CredentialDigest"/>) and by
///    the very <see cref="PasswordHash"/> they were compared with. When a user has another password, nothing that was found out counts for it.
/// 2. At most <see cref="MaxUnderWay"/> different checks are under way, and at most <see cref="MaxWaiting"/> callers wait for them; more are refused at once.
/// 3. Who asks finds the password remembered, or its check under way, or begins one: under one lock, as a check that ends is remembered and removed.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "a semaphore that nobody waits for by handle holds memory alone")]
internal sealed class PasswordChecks(Func<PasswordHash, string, bool>? matches = null)
{
    /// <summary>Different passwords that are being checked, or wait to be.</summary>
    public const int MaxUnderWay = 256;

    /// <summary>Callers that wait for a check, those who share one included.</summary>
    public const int MaxWaiting = 16_384;

    private const int MaxRemembered = 4096;

    // immutable
    private readonly Func<PasswordHash, string, bool> _matches = matches ?? (static (password, secret) => password.Matches(secret));
    private readonly SemaphoreSlim _hashing = new(Math.Max(1, Environment.ProcessorCount / 2));

    // written under the lock, read by anybody
    private readonly ConcurrentDictionary<CredentialDigest, PasswordHash> _remembered = new();

    // under the lock
    private readonly Lock _lock = new();
    private readonly Dictionary<(CredentialDigest Credential, PasswordHash Password), Check> _underWay = [];
    private int _waiting;

    /// <summary>Checks that are under way, and the callers that wait for one.</summary>
    public (int Checks, int Callers) UnderWay
    {
        get
        {
            lock (_lock)
            {
                return (_underWay.Count, _waiting);
            }
        }
    }

    /// <summary>Whether this was right a while ago.</summary>
    public bool IsRemembered(in CredentialDigest credential, PasswordHash password) =>
        _remembered.TryGetValue(credential, out PasswordHash? remembered) && ReferenceEquals(remembered, password);

    /// <summary>Tells whether a secret is a password, by a check that is under way or a new one; null: too many are.</summary>
    /// <param name="credential">Stands for the user's name and the secret.</param>
    /// <param name="password">What the user has.</param>
    /// <param name="secret">What was sent as proof; kept until it is hashed, by nobody else.</param>
    public Task<bool>? TryCheck(in CredentialDigest credential, PasswordHash password, string secret)
    {
        Check? check;
        lock (_lock)
        {
            if (IsRemembered(credential, password))
            {
                return Task.FromResult(true);
            }

            if (_waiting == MaxWaiting)
            {
                return null;
            }

            if (_underWay.TryGetValue((credential, password), out check))
            {
                _waiting++;
                check.Waiting++;
                return check.Outcome.Task;
            }

            if (_underWay.Count == MaxUnderWay)
            {
                return null;
            }

            _waiting++;
            check = new Check(credential, password);
            _underWay[(credential, password)] = check;
        }

        _ = RunAsync(check, secret);
        return check.Outcome.Task;
    }

    private async Task RunAsync(Check check, string secret)
    {
        await _hashing.WaitAsync();
        Task<bool> hashed = Task.Run(() => _matches(check.Password, secret));
        await ((Task)hashed).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _hashing.Release();
        lock (_lock)
        {
            if (hashed is { IsCompletedSuccessfully: true, Result: true })
            {
                if (_remembered.Count >= MaxRemembered)
                {
                    // Only those who know passwords get here, and most come again at once.
                    _remembered.Clear();
                }

                _remembered[check.Credential] = check.Password;
            }

            _underWay.Remove((check.Credential, check.Password));
            _waiting -= check.Waiting;
        }

        // A failure is that of everybody who waits.
        check.Outcome.SetFromTask(hashed);
    }

    /// <summary>One check that is under way.</summary>
    private sealed class Check(CredentialDigest credential, PasswordHash password)
    {
        public CredentialDigest Credential { get; } = credential;

        public PasswordHash Password { get; } = password;

        /// <summary>Those who wait go on by themselves, not one after the other on the thread that hashed.</summary>
        public TaskCompletionSource<bool> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Callers that wait for it, under the lock.</summary>
        public int Waiting { get; set; } = 1;
    }
}
