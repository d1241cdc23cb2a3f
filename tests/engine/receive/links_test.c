// Links to providers: shared while somebody uses them, and given up without waiting for anything.
#include "engine/receive/links.h"

#include "tests/check.h"

#include <netdb.h>
#include <semaphore.h>

static sem_t looking, answer;

// Stands before the C library's: names take as long as the test likes, and are never known.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    (void)name;
    (void)service;
    (void)hints;
    (void)result;
    sem_post(&looking);
    sem_wait(&answer);
    return EAI_AGAIN;
}

static void test_release_while_looking_up(void)
{
    struct links *links = links_create("edge-1", 120);
    struct link_target target = {.address = "slow.example:1", .link_id = "link.A", .key = {1}};
    struct link *first = NULL, *second = NULL, *again = NULL;
    CHECK_OK(links_acquire(links, &target, &first, NULL));
    CHECK_OK(links_acquire(links, &target, &second, NULL));
    CHECK_TRUE(first == second);
    links_release(links, &first);
    sem_wait(&looking); // its thread waits for a name now, and nobody answers
    links_release(links, &second);
    CHECK_TRUE(!second);
    // A link of the same name is a new one; it does not wait for the old one either.
    CHECK_OK(links_acquire(links, &target, &again, NULL));
    sem_wait(&looking);
    links_release(links, &again);
    sem_post(&answer);
    sem_post(&answer);
    links_destroy(&links);
}

int main(void)
{
    sem_init(&looking, 0, 0);
    sem_init(&answer, 0, 0);
    test_release_while_looking_up();
    return check_end();
}
