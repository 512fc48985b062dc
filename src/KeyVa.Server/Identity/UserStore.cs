using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Server.Identity;

/// <summary>
/// The users of a server: those of this moment, for whoever checks, and changes to them, one after the other, each durable before it
/// counts. Thread-safe.
/// </summary>
/// <remarks>
/// Invariants.
/// 1. <see cref="Current"/> is what the file holds, or was before a change that is on its way.
/// 2. While there are users, one of them can administer users and has something to prove itself with: nobody locks everybody out.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "a semaphore that nobody waits for by handle holds memory alone")]
internal sealed class UserStore
{
    /// <summary>Where the token of the first administrator stands, for its owner to read.</summary>
    public const string AdminTokenFile = "ADMIN-TOKEN";

    private const string AdminTokenTemporary = "ADMIN-TOKEN.tmp";

    // immutable
    private readonly IFileSystem _files;
    private readonly string _directory;
    private readonly int _iterations;
    private readonly TimeProvider _clock;

    // held by whoever changes
    private readonly SemaphoreSlim _turn = new(1, 1);

    // published
    private UserDirectory _current;

    // shared
    private readonly ConcurrentDictionary<Follower, byte> _followers = new();

    public UserStore(IFileSystem files, string directory, int iterations, TimeProvider clock)
    {
        _files = files;
        _directory = directory;
        _iterations = iterations;
        _clock = clock;
        _current = UserFile.Read(files, directory);
    }

    /// <summary>The users of this moment.</summary>
    public UserDirectory Current => Volatile.Read(ref _current);

    /// <summary>The iterations of new passwords, and of the work that is done for users that there are not.</summary>
    public int Iterations => _iterations;

    /// <summary>Calls back after each change, on the thread that made it, until what is returned is disposed.</summary>
    public IDisposable OnChange(Action changed)
    {
        Follower follower = new(this, changed);
        _followers[follower] = 0;
        return follower;
    }

    /// <summary>Carries out a change, off the caller's thread: hashing is slow, and so is the disk.</summary>
    public async Task<UserResult> ChangeAsync(UserChange change)
    {
        if (Invalid(change) is { } wrong)
        {
            return new UserResult(Status.Invalid, wrong);
        }

        await _turn.WaitAsync();
        try
        {
            return await Task.Run(() => Change(change));
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Writes the token of a first administrator into a file of its own; returns its path.</summary>
    public string WriteAdminToken(string token)
    {
        UserFile.WriteWhole(_files, _directory, AdminTokenFile, AdminTokenTemporary, Encoding.ASCII.GetBytes(token + "\n"));
        return Path.Combine(_directory, AdminTokenFile);
    }

    private UserResult Change(UserChange change)
    {
        UserDirectory old = Current;
        User? user = old.Find(change.Name);
        if (change is UserChange.Put put)
        {
            if (user is not null)
            {
                return Publish(old, user, user.With(grants: put.Grants, password: Hash(put.Password), certificates: put.Certificates));
            }

            change = new UserChange.Add(put.Name, put.Grants ?? [], put.Password, put.Certificates ?? []);
        }

        if (change is UserChange.Add add)
        {
            return user is not null
                ? new UserResult(Status.ConditionFailed, $"there is a user '{change.Name}' already")
                : old.All.Count >= UserDirectory.MaxUsers
                ? new UserResult(Status.TooLarge, $"there are {UserDirectory.MaxUsers} users, which is the limit")
                : Add(old, add);
        }

        if (user is null)
        {
            return new UserResult(Status.NotFound, $"there is no user '{change.Name}'");
        }

        switch (change)
        {
            case UserChange.Remove:
                return Publish(old, user, null);
            case UserChange.SetGrants grants:
                return Publish(old, user, user.With(grants: grants.Grants));
            case UserChange.SetPassword { Password: null }:
                return Publish(old, user, new User(user.Name, user.Grants) { Tokens = user.Tokens, Certificates = user.Certificates });
            case UserChange.SetPassword password:
                return Publish(old, user, user.With(password: Hash(password.Password)));
            case UserChange.SetOwnPassword own:
                return ReferenceEquals(user.Password, own.Known)
                    ? Publish(old, user, user.With(password: Hash(own.Password)))
                    : new UserResult(Status.ConditionFailed, "the password was changed by somebody else meanwhile");
            case UserChange.SetCertificates certificates:
                return Publish(old, user, user.With(certificates: certificates.Certificates));
            case UserChange.AddToken token:
                return AddToken(old, user, token);
            case UserChange.RemoveToken token:
                AccessToken[] left = [.. user.Tokens.Where(one => one.Name != token.Token)];
                return left.Length == user.Tokens.Count
                    ? new UserResult(Status.NotFound, $"the user '{user.Name}' has no token '{token.Token}'")
                    : Publish(old, user, user.With(tokens: left));
            default:
                throw new InvalidOperationException($"a change of an unknown kind, {change.GetType().Name}");
        }
    }

    private UserResult Add(UserDirectory old, UserChange.Add change)
    {
        User user = new(change.Name, change.Grants) { Certificates = change.Certificates, Password = Hash(change.Password) };
        return change.Token is { } token ? AddToken(old, null, user, token, isOneTime: true) : Publish(old, null, user) with { IsNew = true };
    }

    private UserResult AddToken(UserDirectory old, User user, UserChange.AddToken change)
    {
        if (user.Tokens.Any(one => one.Name == change.Token))
        {
            return new UserResult(Status.ConditionFailed, $"the user '{user.Name}' has a token '{change.Token}' already; remove it first");
        }

        if (user.Tokens.Count == User.MaxTokens)
        {
            return new UserResult(Status.TooLarge, $"the user '{user.Name}' has {User.MaxTokens} tokens, which is the limit");
        }

        return AddToken(old, user, user, change.Token, isOneTime: false);
    }

    private UserResult AddToken(UserDirectory old, User? before, User user, string name, bool isOneTime)
    {
        string text = AccessToken.NewText();
        AccessToken token = new(name, AccessToken.HashOf(text), isOneTime, _clock.GetUtcNow().ToUnixTimeMilliseconds());
        return Publish(old, before, user.With(tokens: [.. user.Tokens, token])) with { Secret = text };
    }

    /// <summary>Makes a change durable, then known; refuses one that would lock everybody out.</summary>
    private UserResult Publish(UserDirectory old, User? before, User? after)
    {
        if (after is not null && after.Tokens.Any(static one => one.IsOneTime) && (after.Password is not null || after.Certificates.Count > 0 || after.Tokens.Any(static one => !one.IsOneTime)))
        {
            // It was for the time until there is something better.
            after = after.With(tokens: [.. after.Tokens.Where(static one => !one.IsOneTime)]);
        }

        List<User> users = [.. old.All.Where(user => !ReferenceEquals(user, before))];
        if (after is not null)
        {
            users.Add(after);
        }

        UserDirectory directory = new(users);
        if (!directory.All.Any(static user => user.IsAdministrator && user.HasCredential))
        {
            return new UserResult(Status.ConditionFailed, old.IsOpen
                ? "the first user must be able to administer users, or nobody could: give it the grant 'admin' and a password, or a certificate"
                : "the last user that can administer users would be gone; let another one have 'control:admin' first");
        }

        if (directory.All.SelectMany(static user => user.Certificates).GroupBy(static name => name, StringComparer.Ordinal).Any(static same => same.Count() > 1))
        {
            return new UserResult(Status.ConditionFailed, "the certificate is another user's already");
        }

        UserFile.Write(_files, _directory, directory);
        Volatile.Write(ref _current, directory);
        foreach ((Follower follower, _) in _followers)
        {
            follower.Changed();
        }

        string tokenFile = Path.Combine(_directory, AdminTokenFile);
        if (!directory.All.Any(static user => user.Tokens.Any(static token => token.IsOneTime)) && _files.FileExists(tokenFile))
        {
            _files.DeleteFile(tokenFile);
            _files.SyncDirectory(_directory);
        }

        return new UserResult(Status.Ok, User: after ?? before);
    }

    private PasswordHash? Hash(string? password) => password is null ? null : PasswordHash.Create(password, _iterations);

    private static string? Invalid(UserChange change) => change switch
    {
        _ when !User.IsName(change.Name) => $"'{change.Name}' is no name of a user; it takes {User.NameForms}",
        UserChange.Add add => InvalidGrants(add.Grants) ?? InvalidPassword(add.Password) ?? InvalidCertificates(add.Certificates),
        UserChange.Put put => InvalidGrants(put.Grants ?? []) ?? InvalidPassword(put.Password) ?? InvalidCertificates(put.Certificates ?? []),
        UserChange.SetGrants set => InvalidGrants(set.Grants),
        UserChange.SetPassword set => InvalidPassword(set.Password),
        UserChange.SetOwnPassword set => InvalidPassword(set.Password),
        UserChange.SetCertificates set => InvalidCertificates(set.Certificates),
        UserChange.AddToken add when !User.IsName(add.Token) => $"'{add.Token}' is no name of a token; it takes {User.NameForms}",
        _ => null,
    };

    private static string? InvalidGrants(IReadOnlyList<Grant> grants) =>
        grants.Count > User.MaxGrants ? $"a user has at most {User.MaxGrants} grants" : grants.Select(static one => Grant.Check(one.Plane, one.Prefix)).FirstOrDefault(static wrong => wrong is not null);

    private static string? InvalidPassword(string? password) =>
        password is null ? null
        : password.Length == 0 ? "the password is empty"
        : Encoding.UTF8.GetByteCount(password) > PasswordHash.MaxPasswordBytes ? $"the password is longer than {PasswordHash.MaxPasswordBytes} bytes"
        : AccessToken.LooksLikeOne(password) ? "a password must not look like a token"
        : null;

    private static string? InvalidCertificates(IReadOnlyList<string> certificates) =>
        certificates.Count > User.MaxCertificates ? $"a user has at most {User.MaxCertificates} certificates"
        : certificates.Select(static one => CertificateName.Check(one)).FirstOrDefault(static wrong => wrong is not null);

    private sealed class Follower(UserStore users, Action changed) : IDisposable
    {
        public Action Changed { get; } = changed;

        public void Dispose() => users._followers.TryRemove(this, out _);
    }
}
