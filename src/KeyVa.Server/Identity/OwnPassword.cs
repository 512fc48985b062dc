namespace KeyVa.Server.Identity;

/// <summary>
/// Users change their own passwords, whatever else they may do, by showing the old one: a session that somebody left open, or a token that was found,
/// is not enough. Wrong old passwords count as wrong passwords do. Thread-safe.
/// </summary>
internal sealed class OwnPassword(UserStore users, Authenticator authenticator)
{
    /// <summary>Gives a caller another password. ConditionFailed: it has none, or it was changed meanwhile; PermissionDenied: the old one is wrong.</summary>
    public async Task<UserResult> ChangeAsync(Caller caller, string old, string next)
    {
        if (caller.User is not { } user)
        {
            return new UserResult(Status.ConditionFailed, "the server has no users, so you have no password");
        }

        if (user.Password is null)
        {
            return new UserResult(Status.ConditionFailed, $"the user '{user.Name}' has no password; whoever administers users gives it one");
        }

        // A token may stand wherever a password stands, but here.
        ProofResult proof = AccessToken.LooksLikeOne(old)
            ? new ProofResult(Proof.Wrong)
            : authenticator.TryProve(user.Name, old, caller.Address) ?? await authenticator.ProveAsync(user.Name, old, caller.Address);
        return proof.Proof switch
        {
            Proof.Accepted => await users.ChangeAsync(new UserChange.SetOwnPassword(user.Name, next, proof.Caller!.User!.Password!)),
            Proof.TooMany => new UserResult(Status.RateLimited, "too many wrong passwords came from this address, or too many wait to be checked") { RetryAfter = proof.RetryAfter },
            _ => new UserResult(Status.PermissionDenied, "the old password is wrong; nothing was changed"),
        };
    }
}
